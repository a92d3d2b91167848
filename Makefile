# make demo      the whole pipeline on a generated world: shards, pre-training, retrieval, report
# make demo-weights    the demo's weights in half precision, where `--weights demo` finds them
# make test      the quick tests; make test-all the slow ones; make check the linters and the type checker
# make fuzz      changed inputs of every kind for an hour; FUZZ_MINUTES says how long
# make faults    kills, full disks and crowds of visitors, for an hour; needs root
# PYTHON chooses the interpreter for a new .venv: make demo PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Each process takes a file of tests at a time; their number and order are in tests/conftest.py.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 2
LAUNCH := $(BIN)/accelerate launch --quiet --config_file launch/accelerate/one_process.yaml

FUZZ_MINUTES ?= 60

DEMO_WORLD := data/demo-world
DEMO_SHARDS := data/demo-shards
DEMO_RUN := runs/demo
DEMO_REPORT := $(DEMO_RUN)/retrieval

.PHONY: demo demo-weights test test-all fuzz faults check install clean-demo
.DELETE_ON_ERROR:

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Earshot needs Python 3.11 or newer, {sys.executable} is {v.major}.{v.minor}; select another with: make $(MAKECMDGOALS) PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the pinned packages into .venv (about 3 minutes and 7 GB the first time)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,check]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/python shards/run.py build --source demo --root $(DEMO_WORLD) --out $(DEMO_SHARDS)
	@if test -f $(DEMO_RUN)/summary.json; then echo "reusing the run in $(DEMO_RUN)"; \
	elif test -f $(DEMO_RUN)/config.yaml; then $(LAUNCH) pretrain/run.py --resume $(DEMO_RUN); \
	else $(LAUNCH) pretrain/run.py demo --shards $(DEMO_SHARDS) --out $(DEMO_RUN); fi
	@if test -f $(DEMO_REPORT)/report.html; then $(BIN)/python retrieval/run.py show $(DEMO_REPORT); \
	else $(BIN)/python retrieval/run.py evaluate --weights $(DEMO_RUN) --shards $(DEMO_SHARDS) --split test --out $(DEMO_REPORT); fi
	@echo "run:    $(DEMO_RUN)"

demo-weights: $(INSTALLED)
	$(BIN)/python pretrain/run.py demo-weights

clean-demo:
	rm -rf $(DEMO_WORLD) $(DEMO_SHARDS) $(DEMO_RUN)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(INSTALLED)
	$(PYTEST) --timeout=300 -o faulthandler_timeout=330 --durations=15 -m "not slow and not browser"

fuzz: $(INSTALLED)
	$(BIN)/python tests/fuzz/run.py --minutes $(FUZZ_MINUTES)
	$(BIN)/python tests/fuzz/run.py --commands 40

faults: $(INSTALLED)
	$(BIN)/python tests/faults/run.py kills
	$(BIN)/python tests/faults/run.py disks
	$(BIN)/python tests/faults/run.py servers

test-all: $(INSTALLED)
	$(PYTEST) --durations=25 -m "slow or browser"
