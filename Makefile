# Everything there is to do here. A target makes what it needs; the first one on a fresh machine installs.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help tune test lint check format docs clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

tune: $(VENV)/.base  ## tune a deep net on real digits for one minute; the report is digits.html
	$(BIN)/ayar tune digits --minutes 1 --store digits.db --report digits.html

test: $(VENV)/.dev  ## run the tests and every example in the docs; ARGS="tests/space -x" narrows
	OMP_NUM_THREADS=1 $(BIN)/pytest $(ARGS)

lint: $(VENV)/.dev  ## formatting, style and types, without the tests
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy

check: lint docs test  ## all that must hold before a commit lands: lint, docs, tests

format: $(VENV)/.dev  ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.dev  ## build the documentation into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:  ## remove what can be made anew; ledgers and reports stay
	rm -rf $(VENV) site build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

# A virtual environment does not survive a move, nor the loss of the Python it was made from. Its mark holds the
# folder it was made for; where that is not this one, it is made anew.
ifneq ($(shell $(BIN)/python -c '' 2>/dev/null && cat $(VENV)/.made 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.made
endif

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ayar needs Python 3.11 or later. If another one is installed: make PYTHON=python3.12 ...")'
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "$(CURDIR)" > $@

$(VENV)/.base: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing Ayar with PyTorch and scikit-learn (a minute or two, once)"
	@$(PIP) -e '.[torch,web]'
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "Installing what the checks need (once)"
	@$(PIP) -e '.[dev,docs]'
	@touch $@
