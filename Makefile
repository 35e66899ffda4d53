# Targets work from a clean clone: `make demo` and `make test` create the virtual environment first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-faults bench docs lint check check-package clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

install: $(STAMP) ## Create .venv and install wmrl with everything that tests need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "wmrl needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "Python's venv module is missing (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,lint]"
	@$(BIN)/python -c 'import cv2' || \
		{ echo "OpenCV lacks system libraries (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0)"; exit 1; }
	@touch $@

demo: $(STAMP) ## Train an agent in a dream, run it in the real game, record videos (5 minutes)
	$(BIN)/wmrl demo

test: $(STAMP) check ## Lint, types, floors and all quick tests
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile

test-slow: $(STAMP) ## Learning runs that take minutes each
	$(BIN)/pytest -m slow

test-faults: $(STAMP) ## Inject faults: kills, full disks, damaged, forged and hostile files (40 minutes)
	PYTHONPATH=tests/toys OMP_NUM_THREADS=1 $(BIN)/python tests/faults --out results/faults

bench: $(STAMP) ## Measure speeds on an otherwise idle machine; writes benchmarks/*.json
	$(BIN)/python -m benchmarks

docs: $(STAMP) ## Build the documentation in docs/_build/html; run notebooks; warnings are errors (four minutes)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

lint: $(STAMP) ## Format and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Type checker and import linter do not follow editable installs, so they read a real one.
check: $(STAMP) ## Format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	rm -rf build/check build/lib # where setuptools keeps modules that are gone
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target build/check .
	cd build/check && $(abspath $(BIN))/lint-imports --config ../../pyproject.toml --no-cache
	$(BIN)/mypy build/check/wmrl

check-package: $(STAMP) ## Build dist/ as for a package index, install it in a new environment, test it there
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[release]"
	$(BIN)/python tests/package --out dist

clean: ## Remove the virtual environment and all caches
	rm -rf $(VENV) build dist *.egg-info .*_cache .import_linter_cache
	rm -rf docs/_build docs/_generated docs/reference/api
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
