# Everything a newcomer runs; a bare machine needs only Python 3.11 or newer, pip and make.
#
#   make demo        a federation of hospitals on this machine, with a report       make demo-fast   the short one
#   make test        everything that proves it                                      make lint        style and types
#   make docs        the documentation site, and whether its generated pages are current
#   make soak        hours of fuzzing and kills; SOAK_EXECUTIONS and SOAK_KILLS say how many
#   make second-opinion   what other implementations say of our recorded messages (CBOR, COSE, HPKE), of our log
#                    (pymerkle) and of its exports (OCSF, FHIR, PROV, CloudEvents, CEF)

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SECOND := $(VENV)/second-opinion
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup models test soak second-opinion demo demo-fast lint docs clean

help:
	@sed -n '1,/^$$/s/^#  *//p' Makefile

setup: $(READY)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python found: install Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

# torch first and alone, so that a machine whose pip knows an index of CPU builds gets one.
$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --progress-bar off -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --progress-bar off -c constraints.txt -e '.[dev]'
	@touch $@

models: setup
	$(BIN)/semfed demo --prepare-only

# A file of tests stays in one process, so that what its tests share is made once; long files are not left to the end.
TEST_PROCESSES ?= 2

test: models
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

# In an environment of its own, without our code: cwt wants an older cbor2 than ours, pymerkle one cachetools alone.
second-opinion: tests/vectors/requirements.txt setup
	test -x $(SECOND)/bin/python || $(BIN)/python -m venv $(SECOND)
	$(SECOND)/bin/python -m pip install --quiet --progress-bar off -r tests/vectors/requirements.txt
	$(SECOND)/bin/python tests/vectors/second_opinion.py
	rm -rf $(SECOND)/log && $(BIN)/python -m tests.audit.large_log $(SECOND)/log
	$(SECOND)/bin/python tests/vectors/second_opinion_log.py $(SECOND)/log
	rm -rf $(SECOND)/exports && $(BIN)/python -m tests.audit.exporters.write_all $(SECOND)/exports
	$(SECOND)/bin/python tests/vectors/second_opinion_exports.py $(SECOND)/exports

SOAK_EXECUTIONS ?= 1000000
SOAK_SECONDS ?= 7200
SOAK_KILLS ?= 300
SOAK_LOG_KILLS ?= 500

soak: setup
	$(BIN)/python -m tests.soak.run --repeats 10 --kills $(SOAK_KILLS)
	$(BIN)/python -m tests.soak.log_run --repeats 10 --kills $(SOAK_LOG_KILLS)
	$(BIN)/python -m tests.fuzz.campaign --each $(SOAK_SECONDS) --runs $(SOAK_EXECUTIONS)

demo: setup
	$(BIN)/semfed demo

demo-fast: setup
	$(BIN)/semfed demo --fast

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: setup
	$(BIN)/python docs/generate.py --check
	$(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
