# Needs make and Python 3.11 or newer. Every target builds what it needs in .venv from the lock files:
# `demo` the runtime set, the others also the tools and torch.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COVERAGE_MIN := 90
# The environment with the releases that ctrader-open-api itself pins, for the tests that touch them.
PINNED ?= .venv-pinned
CHAOS_SECONDS ?= 600
CHAOS_SEED ?= 0

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-long test-pinned check static format bench chaos lock clean

help:
	@echo "make demo    a few hundred ticks on the paper broker, with a report"
	@echo "make test    the test suite, with the line coverage (at least $(COVERAGE_MIN) %)"
	@echo "make test-long    the test suite with more examples of each property, and without the coverage"
	@echo "make test-pinned  the cTrader tests on the releases that its package pins"
	@echo "make static  formatting, lint and types"
	@echo "make check   static and test"
	@echo "make bench   the benchmarks; the last line is one JSON object"
	@echo "make chaos   kill, fail and cut off ticks at every system call for CHAOS_SECONDS; the last line is one JSON object"
	@echo "make format  put the code into the project's format"
	@echo "make lock    resolve the dependencies anew into requirements/*.lock"
	@echo "make clean   remove .venv and everything that was generated"

demo: $(VENV)/runtime.stamp
	$(BIN)/oracle-batch demo

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term --cov-fail-under=$(COVERAGE_MIN)

test-long: $(VENV)/dev.stamp
	TESTS_LONG=1 $(BIN)/python -m pytest -n auto --dist worksteal

# What is left out has no part in the protocol: it imports neither protobuf nor Twisted.
test-pinned: $(PINNED)/stamp
	$(PINNED)/bin/python -m pytest -n auto --dist worksteal --ignore-glob='tests/sim/test_exchange_*' \
		tests/openapi tests/broker/ctrader tests/sim

static: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: static test

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp
	$(BIN)/python bench/run.py

# CHAOS_SEED draws other points and other lives.
chaos: $(VENV)/dev.stamp
	$(BIN)/python -m tests.chaos --lives --seconds $(CHAOS_SECONDS) --seed $(CHAOS_SEED)

lock: $(VENV)/dev.stamp
	UV=$(BIN)/uv tools/lock

clean:
	rm -rf $(VENV) $(PINNED) build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --no-deps on every locked step: pip would otherwise go back to the releases that ctrader-open-api pins.
$(VENV)/runtime.stamp: requirements/runtime.lock pyproject.toml | $(BIN)/python
	$(PIP) install --no-deps --require-hashes -r requirements/runtime.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# torch comes last, so that all it needs is there from the lock.
$(VENV)/dev.stamp: requirements/train-dev.lock requirements/torch.txt $(VENV)/runtime.stamp
	$(PIP) install --no-deps --require-hashes -r requirements/train-dev.lock
	$(PIP) install -r requirements/torch.txt
	@touch $@

$(PINNED)/stamp: requirements/pinned.lock pyproject.toml
	$(PYTHON) -m venv --clear $(PINNED)
	$(PINNED)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r requirements/pinned.lock
	$(PINNED)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, e.g.: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
