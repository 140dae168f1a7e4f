# Every target works on a fresh checkout: those that need the virtual environment make it first.
# Another Python: `make demo PYTHON=python3.12`. pip takes the index, the cache and the wheels it is configured with.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
# many processes import torch and Airflow here; where none may keep their bytecode, each compiles them anew: 20 seconds
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test up down lint lock bench .venv

help: ## show this list
	@grep -E '^[a-z.]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

.venv: $(READY) ## set up the virtual environment, only

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	# compiling all of 250 packages, of which little is ever imported, takes longer than installing them
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[airflow,demo,dev,ray]'
	touch $@

demo: $(READY) ## the whole pipeline on a real catalog, through Airflow; results in var/demo
	$(BIN)/python -m examples.complete_journey.demo

test: $(READY) ## all tests
	$(BIN)/python -m pytest -n 3 --dist loadfile

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

up: $(READY) ## leave Airflow, MLflow and an S3 endpoint running, and print their addresses
	$(BIN)/python -m examples.complete_journey.up

down: $(READY) ## stop what `make up` started
	$(BIN)/python -m examples.complete_journey.up --down

.env: ## passwords for docker-compose.yaml, made once
	umask 077 && $(PYTHON) docker/env.py >$@

bench: $(READY) ## the benchmarks behind the figures in the README
	$(BIN)/python -m benchmarks.complete_journey
	@if [ -n "$$ATTRGAN_BENCHMARK_DATA" ]; then $(BIN)/python -m benchmarks.catalogs --attributes; \
	else echo "public catalogs: left out, since ATTRGAN_BENCHMARK_DATA names no folder with their Parquet files"; fi

lock: ## resolve the dependencies anew in an empty environment and pin them in constraints.txt
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --disable-pip-version-check -e '.[airflow,demo,dev,ray]'
	build/lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//' | sort -f > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/lock
