# make serve [MODEL=directory-or-hub-id]   set up if needed, and serve (MILLRACE_PORT and the like are heeded)
# make test                                set up if needed; lint, types, tests
# make test-slow                           the long tests

PYTHON ?= python3
VENV := .venv
PIP_INSTALL := $(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint config/constraints.txt

.PHONY: serve test test-slow format

serve: $(VENV)/.serve
	@exec $(VENV)/bin/millrace serve $(MODEL)

test: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest

test-slow: $(VENV)/.test
	$(VENV)/bin/pytest -m slow

format: $(VENV)/.test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml config/constraints.txt | $(VENV)/bin/python
	@echo "installing Millrace into $(VENV); this happens once"
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.test: pyproject.toml config/constraints.txt | $(VENV)/.serve
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@
