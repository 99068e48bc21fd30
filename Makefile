# The commands of this project. CI runs `make check`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint fmt type docs check clean

help: ## show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(BIN)/.done ## create a virtual environment with fdrd and its development tools

$(BIN)/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[dev]' \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup ## draw a source, build it, train methods and rank them
	$(BIN)/fdrd demo demo

test: setup ## run the fast tests; no network needed
	$(BIN)/python -m pytest

test-all: setup ## run all tests: kills, wheels, every example of the documentation
	$(BIN)/python -m pytest -m 'slow or not slow'

lint: setup ## check style, spelling and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell $$(git ls-files)
	$(BIN)/lint-imports

fmt: setup ## fix style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: setup ## check static types
	$(BIN)/mypy

docs: setup ## build the documentation site into build/site; a warning is an error
	$(BIN)/python tools/site_pages.py build/docs
	$(BIN)/zensical build --strict

check: setup ## run what CI runs
	$(MAKE) --jobs=2 lint type docs
	$(MAKE) test

clean: ## remove everything that the other commands created
	rm -rf $(VENV) demo dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .cache
