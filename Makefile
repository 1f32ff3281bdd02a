# make serve [MODEL=directory-or-hub-id]   set up if needed, and serve (MILLRACE_PORT and the like are heeded)
# make test                                set up if needed; lint, types, tests
# make test-slow                           the long tests
# make format                              let the linter mend what it can
# make lock                                renew what the container image installs

PYTHON ?= python3
VENV := .venv
INSTALL := $(PYTHON) config/install.py $(VENV)
SERVE_SIZE := "Installing Millrace and what it needs into $(VENV), once: about 50 packages, 1.1 GB on disk, most of it \
torch for CPUs; several GB where the package index gives torch for NVIDIA GPUs, as PyPI does on Linux."
TEST_SIZE := "Installing what the tests need into $(VENV), once: about 100 packages more."
CONSTRAINED := --constraint config/constraints.txt

LOCK := $(VENV)/bin/uv pip compile --quiet --generate-hashes --no-annotate --no-emit-package setuptools \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28 --custom-compile-command 'make lock'
IMAGE := config/requirements

.PHONY: serve test test-slow format lock

serve: $(VENV)/.serve
	@exec $(VENV)/bin/millrace serve $(MODEL)

test: $(VENV)/.test
	@echo "Lint, types and tests: 6 to 9 minutes on 2 cores."
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest --numprocesses logical --maxprocesses 4 --dist loadfile

test-slow: $(VENV)/.test
	$(VENV)/bin/pytest -m slow

format: $(VENV)/.test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# What the container image installs: the versions of config/constraints.txt, with their hashes.
lock: | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet $(CONSTRAINED) uv
	$(LOCK) --constraint config/constraints.txt --torch-backend cpu --extra otel pyproject.toml --output-file $(IMAGE)/cpu.txt
	$(LOCK) --constraint config/constraints.txt --extra otel pyproject.toml --output-file $(IMAGE)/cuda.txt
	echo 'hatchling>=1.27' | $(LOCK) - --output-file $(IMAGE)/build.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml config/constraints.txt
	@$(INSTALL) $(SERVE_SIZE) $(CONSTRAINED) --editable .
	@touch $@

$(VENV)/.test: pyproject.toml config/constraints.txt | $(VENV)/.serve
	@$(INSTALL) $(TEST_SIZE) $(CONSTRAINED) --editable '.[dev]'
	@touch $@
