# Everything runs in .venv, made from python3 and constraints.txt. `make demo` first.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-all lint clean

demo: .venv/user.done
	OMP_NUM_THREADS=$$(getconf _NPROCESSORS_ONLN) $(BIN)/orchestrion generate -d 20 --seed 1 -o demo.wav --plot

test: .venv/dev.done
	$(BIN)/python -m pytest -n 2

test-all: .venv/dev.done
	$(BIN)/python -m pytest -n 2 -m "slow or not slow"

lint: .venv/dev.done
	$(BIN)/ruff check src tests benchmarks recipes
	$(BIN)/mypy

clean:
	rm -rf .venv demo.wav demo.png

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/user.done: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

.venv/dev.done: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@ .venv/user.done
