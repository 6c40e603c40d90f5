# `make demo` and `make test` need nothing but Python 3.10 or later and a package index: they set up .venv once.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)

export OMP_NUM_THREADS ?= $(CORES)
export HF_HUB_OFFLINE ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo ablation test test-slow test-gpu check lint types format wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## create .venv with everything that demo, test and check need (once)

# The CPU build of torch is a tenth of the default one on Linux. It is taken from the package indexes that pip
# is configured with, else from PyTorch's own, else the default build serves.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null \
	  || $(BIN)/pip install -q "torch==$(TORCH)+cpu" 2>/dev/null \
	  || $(BIN)/pip install -q --index-url https://download.pytorch.org/whl/cpu "torch==$(TORCH)" 2>/dev/null \
	  || $(BIN)/pip install -q "torch==$(TORCH)"
	$(BIN)/pip install -q -c constraints.txt -e ".[test]"
	touch $@

demo: $(STAMP) ## a portrait and a grid of 4 people x 4 expressions, in out/
	$(BIN)/python examples/demo.py --out out

ablation: $(STAMP) ## the table of the method's parts, from shipped weights, into benchmarks/results/ablation.json
	$(BIN)/python benchmarks/packing.py unpack weights/ablation out/adapters
	$(BIN)/python benchmarks/ablation.py

test: $(STAMP) ## the fast tests: CPU, offline, under five minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES)

test-slow: $(STAMP) ## the slow tests
	$(BIN)/python -m pytest -m "slow and not gpu and not net"

test-gpu: $(STAMP) ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

lint: $(STAMP) ## style and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## static types
	$(BIN)/pyright

check: lint types test ## lint, types and tests: the gate for every change

format: $(STAMP) ## rewrite the code in the house's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(STAMP) ## build the wheel, weights included, in dist/
	$(BIN)/python -m build --wheel

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) dist build out
