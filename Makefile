# The commands of this project. CI runs `make check`, and nothing that is not here.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint fmt type check clean

help: ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(BIN)/.done ## a virtual environment with fdrd and what its checks need

$(BIN)/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup ## draw a source, build it, train methods and rank them: `fdrd demo`
	$(BIN)/fdrd demo demo

test: setup ## the tests that need no network and no patience
	$(BIN)/python -m pytest

test-all: setup ## those that kill, build wheels and run every example, too
	$(BIN)/python -m pytest -m 'slow or not slow'

lint: setup ## style and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

fmt: setup ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: setup ## static types
	$(BIN)/mypy

check: lint type test ## what CI runs

clean: ## remove what the other commands made
	rm -rf $(VENV) demo dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
