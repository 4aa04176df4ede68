"""A small study on simple arms; run as a program, FOLDER ROOT WORKERS, it can be killed and draws no figures."""

import sys
from dataclasses import replace
from pathlib import Path

from shiftlab.arms import arms
from shiftlab.plan import ArmPlan, DataPlan, StudyConfig, UniversePlan
from shiftlab.tasks import tasks

PLUGIN = Path(__file__).parents[1] / "responses" / "sums_arm.py"


def small_study(folder: Path) -> StudyConfig:
    """Two nuisances, one joint pair and one injected universe, on the files in ``folder``."""
    for registry in (arms(), tasks()):
        registry.add_file(PLUGIN)
    return StudyConfig(
        name="small",
        title="Does a small study run?",
        data=DataPlan(folder / "sample.h5"),
        detector={
            "name": "small",
            "allow_double_counting": True,
            "effects": {name: {} for name in ("recombination", "lifetime", "noise", "gain", "threshold")},
        },
        universes=UniversePlan(only=("gain_scale", "lifetime_tau"), joint=2, mip=("gain_scale", "lifetime_tau")),
        arms=ArmPlan(("sums",), (0, 1), folder / "checkpoints"),
        tasks=("electron_gamma", "energy", "flavour"),
        exposure={"numu_cc": 100.0, "nue_cc": 100.0, "photon_protons": 100.0},
        injected={"gain_scale": 1.0},
        replicas=20,
        chunk=8,
        workers=1,
        device="cpu",
        plugins=(PLUGIN,),
    )


if __name__ == "__main__":
    from shiftlab.run import run_study, steps

    steps.report = lambda *values, **named: values[3].write_text("no figures\n")
    study = replace(small_study(Path(sys.argv[1])), workers=int(sys.argv[3]))
    sys.stdout.write(f"{run_study(study, root=Path(sys.argv[2]))}\n")
