# make demo   set up, then the main job on the embedded broker
# make test   set up, then all tests
# make conformance   bluesky's own test-suite on our engine (10 minutes; not part of make test)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check conformance bench clean setup setup-dev docs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Labspine needs Python 3.11 or newer: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@touch $(STAMP)

$(STAMP)-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP) $(STAMP)-dev

setup: $(STAMP)

setup-dev: $(STAMP)-dev
	@scripts/system-packages

demo: setup
	@exec $(BIN)/labspine demo

test: setup-dev
	$(BIN)/python -m pytest --junit-xml=.pytest-report.xml
	$(BIN)/python scripts/check-skips .pytest-report.xml

check: setup-dev
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/unasync.py --check
	$(BIN)/python scripts/generate-reference --check
	$(BIN)/python scripts/check-sizes

conformance: setup-dev
	$(BIN)/python scripts/conformance

bench: setup-dev
	$(BIN)/python benchmarks/codec.py
	$(BIN)/python benchmarks/bus.py
	$(BIN)/python benchmarks/engine.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .pytest-report.xml .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
