# The two commands: `make demo` and `make test`. Both set up .venv first.
#   PYTHON=…       a Python from 3.11 on (default: the first one found)
#   TORCH_INDEX=…  one more package index for pip to find PyTorch on (see README.md)

VENV := .venv
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

.PHONY: help demo test accuracy lint clean

help:
	@echo "make demo   transcribe a French telephone call while it is spoken"
	@echo "make test   linters, types and all tests"
	@echo "make accuracy   word errors on the recorded calls in ../shared, if they are there"
	@echo "make lint   linters and types"
	@echo "make clean  remove .venv and everything else that was made"

demo: $(VENV)/installed
	$(VENV)/bin/fsbot demo

test: lint
	$(VENV)/bin/fsbot models pull base
	$(VENV)/bin/pytest

accuracy: $(VENV)/installed
	$(VENV)/bin/fsbot models pull base
	$(VENV)/bin/python -m tests.accuracy

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "fsbot needs Python 3.11 or newer. Install one, or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --disable-pip-version-check \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt -e '.[dev]'
	@touch $@
