# Everything a stranger needs: `make demo` shows it, `make test` checks it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check faults bench docs dist format clean

demo: $(INSTALLED)
	$(BIN)/spool demo

test: check
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

faults: $(INSTALLED)
	$(BIN)/python tests/faults/matrix.py
	$(BIN)/python tests/faults/memory.py

bench: $(INSTALLED)
	$(BIN)/python benchmarks/drain.py

docs: $(INSTALLED)
	$(BIN)/python docs/settings.py > docs/settings.md

dist:
	PYTHON=$(PYTHON) .ci/dist

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "spool needs Python 3.11 or newer; name one with make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
