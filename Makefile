# make run     set up, then train, evaluate and report the quickstart
# make test    set up, then the fast tests
# make lint    ruff and mypy
# make check   everything that CI runs
# make setup   the virtual environment only; PYTHON=python3.12 chooses the interpreter

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.deeprob-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.PHONY: run test lint check setup slow wheel clean

run: setup
	$(BIN)/deeprob train experiment=quickstart

test: setup
	$(BIN)/pytest

setup: $(STAMP)

# The stamp's name follows from what is to be installed: the environment is made anew when that changes.
$(STAMP):
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else f"deeprob needs Python 3.10 to 3.13, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 -c constraints.txt -e '.[dev]'
	@# opencv-python needs the system's OpenGL and X11 libraries; without them its headless twin serves as well
	@$(BIN)/python -c 'import cv2' 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall -c constraints.txt opencv-python-headless
	@rm -f $(VENV)/.deeprob-*
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: setup
	$(BIN)/pytest -m 'slow and not slurm and not gpu'

check:
	bash .ci/run

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
