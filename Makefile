# make demo   set up, then the main job on the embedded broker
# make test   set up, then all tests
# make test-faults  the tests that kill, freeze and cut, with 200 killed scans (2 minutes more than in make test)
# make conformance   bluesky's own test-suite on our engine (10 minutes; not part of make test)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-faults check conformance bench clean setup setup-dev docs

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
	@scripts/opentera-peer

demo: setup
	@exec $(BIN)/labspine demo

test: setup-dev
	$(BIN)/python -m pytest --junit-xml=.pytest-report.xml
	$(BIN)/python scripts/check-skips .pytest-report.xml

test-faults: setup-dev
	LABSPINE_KILLS=200 LABSPINE_OUTAGE_S=60 $(BIN)/python -m pytest tests/faults --timeout 900

check: setup-dev
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/unasync.py --check
	$(BIN)/python scripts/generate-reference --check
	$(BIN)/python scripts/check-sizes

# An environment of its own: the suite of bluesky wants packages that would get into our tests' way.
$(VENV)/conformance/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/conformance
	$(VENV)/conformance/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[conformance]'
	@touch $@

conformance: $(VENV)/conformance/.installed
	$(VENV)/conformance/bin/python scripts/conformance

bench: setup-dev
	$(BIN)/python benchmarks/codec.py
	$(BIN)/python benchmarks/bus.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/journal.py
	$(BIN)/python benchmarks/opentera.py
	$(BIN)/python benchmarks/calls.py
	$(BIN)/python benchmarks/queues.py
	$(BIN)/python benchmarks/amqp.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .pytest-report.xml .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
