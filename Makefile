# Everything a stranger needs: `make demo` shows it, `make test` checks it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo install test check faults bench bench-guard bench-record image docs dist format clean

demo: $(INSTALLED)
	$(BIN)/spool demo

install: $(INSTALLED)

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
	$(BIN)/python -m benchmarks

bench-guard: $(INSTALLED)
	$(BIN)/python -m benchmarks.guard

bench-record: $(INSTALLED)
	$(BIN)/python -m benchmarks.guard --record

image:
	docker build --tag logspool \
		--build-arg VERSION="$$($(PYTHON) -c 'import spool; print(spool.__version__)')" .

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
