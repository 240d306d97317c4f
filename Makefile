# The commands of the project; each installs what it needs into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 5
TESTS = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Where it is set, each process that a test starts compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo run test test-fast check bench chaos mutants format clean

demo: $(VENV)/runtime
	@$(BIN)/python -m simulators.demo

run: $(VENV)/runtime
	@$(BIN)/python app.py

test: $(VENV)/dev
	$(TESTS) -m "not chaos and not process and not long" --hypothesis-profile fast

test-fast: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "pure and not chaos and not long" --hypothesis-profile fast

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(TESTS)

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks $(if $(BASE),--base $(BASE)) $(foreach name,$(ONLY),--only $(name))

chaos: $(VENV)/dev
	$(BIN)/python -m pytest -m chaos --timeout 1800
	$(MAKE) mutants

mutants: $(VENV)/dev
	$(BIN)/python -m tests.mutants

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/runtime: requirements.txt | $(VENV)/python
	@echo "Installing what AutoForge needs into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt requirements-extras.txt requirements.txt | $(VENV)/python
	@echo "Installing what AutoForge and its tests need into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/runtime

$(VENV)/python:
	@command -v $(PYTHON) >/dev/null || { echo "AutoForge needs Python 3.11 or newer: install it, or name it: make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "AutoForge needs Python 3.11 or newer, this is $$($(PYTHON) -V 2>&1): install it, or name it: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: install it (Debian and Ubuntu: apt install python3-venv)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@
