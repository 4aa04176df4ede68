"""What is said of one checkpoint, or of few seeds, says so; more of them free the sentences of it."""

from dataclasses import replace

import pytest

from shiftlab.report.headline import answers, headline
from shiftlab.report.scope import one_checkpoint, reach, scoped


def with_foundations(record, digests):
    """The record of a run whose first arm rests on these foundation models, one a seed."""
    arm = record.arms[0]
    given = {arm: {f"seed {seed}": digest for seed, digest in enumerate(digests)}}
    return replace(record, provenance={**record.provenance, "foundations": given}), arm


def test_one_checkpoint_for_all_seeds_limits_every_sentence_on_its_arm(record):
    limited, arm = with_foundations(record, ["a" * 64] * len(record.seeds))
    assert one_checkpoint(limited) == {arm: "a" * 12}
    for line in headline(limited):
        assert all(("for this checkpoint" in sentence) == (line.arm == arm) for sentence in line.sentences)
    for sentence in answers(limited):
        assert "for this checkpoint" in sentence or arm not in sentence
    assert any("another pre-training may give another answer" in sentence for sentence in answers(limited))


def test_a_pre_training_for_each_seed_is_no_single_checkpoint(record):
    free, _ = with_foundations(record, [str(seed) * 64 for seed in record.seeds])
    assert len(record.seeds) > 1
    assert one_checkpoint(free) == one_checkpoint(record) == {}
    assert answers(free) == answers(record)
    assert not any("for this checkpoint" in sentence for sentence in answers(free))


@pytest.mark.parametrize(("seeds", "flagged"), [(1, True), (4, True), (5, False)])
def test_claims_need_five_seeds(synthetic, seeds, flagged):
    from shiftlab.report.record import Record

    record = Record.load(synthetic(seeds=tuple(range(seeds))))
    assert any("no claim is made" in sentence for sentence in reach(record)) == flagged


def test_a_sentence_keeps_its_stop_and_its_words(record):
    limited, arm = with_foundations(record, ["a" * 64] * len(record.seeds))
    assert scoped(limited, f"Arm {arm} moves.") == f"Arm {arm} moves (for this checkpoint)."
    assert scoped(limited, "Arm other moves.", ["other"]) == "Arm other moves."
