# make demo   installs into .venv, runs the demo study and prints the path of its report
# make test   installs into .venv and passes style, types, import rules and tests
# make bench  times the detector in copies of its own bytes; five minutes on two cores
#
# PYTHON=python3.12 chooses the interpreter; PIP_ARGS adds options to pip, say another index for torch.

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
STAMP := .venv/.installed
GEANT4_TABLES ?= tests/data/geant4_tables
ACHILLES_TABLES ?=

.DEFAULT_GOAL := demo
.PHONY: demo test bench venv docs samples train clean

demo: $(STAMP)
	@$(BIN)/shiftlab run study=demo

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses=4 --dist loadfile

venv: $(STAMP)

# `pip install -e '.[bench]'` first puts other projects' transforms beside them.
bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/transforms.py --out outputs/bench.json

docs: $(STAMP)
	$(BIN)/pip install $(PIP_ARGS) -q -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict -f docs/mkdocs.yml

samples: $(STAMP)
	@test -d "$(ACHILLES_TABLES)" || \
	  { echo "make samples ACHILLES_TABLES=FOLDER: the generator's inputs (studies/samples/README.md)" >&2; exit 1; }
	$(BIN)/pip install $(PIP_ARGS) -q -c constraints.txt -e '.[sim]'
	$(BIN)/python -m studies.samples.make vertices --tables $(ACHILLES_TABLES) --out data
	$(BIN)/python -m studies.samples.make training --tables $(GEANT4_TABLES) \
	  --vertices data/vertices_training.h5 --out data/lar_training.h5

train: $(STAMP)
	$(BIN)/shiftlab train study=demo data.train=data/lar_training.h5 \
	  arms.foundation=studies/checkpoints/foundation arms.checkpoints=outputs/checkpoints/demo

clean:
	rm -rf .venv outputs dist build site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "shiftlab needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module: install it (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@
