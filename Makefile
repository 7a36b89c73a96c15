# Everything a developer types, one target per line of work; `make help` lists them.
PYTHON  ?= python3
VENV    ?= .venv
PORT    ?= 8000
DATA    ?=
WORKERS ?= 2

RUN     := $(VENV)/bin/python -m
SOURCES := bot handlers knowledge scheduler tests
FAST    := not (postgres or browser or slow or bench)
COMPILE  = $(VENV)/bin/uv pip compile pyproject.toml --quiet --universal --generate-hashes --fork-strategy fewest \
           --python-version 3.11 --no-header $(if $(UPGRADE),--upgrade)

# What Python compiled is kept: without it every worker and every child process of the tests compiles all anew.
unexport PYTHONDONTWRITEBYTECODE

# Test databases lie in memory where the machine has such a place: their commits cost nothing there.
export PYTEST_DEBUG_TEMPROOT := $(shell test -w /dev/shm && echo /dev/shm)

.DEFAULT_GOAL := help
.PHONY: help run test check bench fuzz knowledge lock format clean static system-packages
.DELETE_ON_ERROR:

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 18

run: $(VENV)/.runtime  ## start the demo station on http://127.0.0.1:8000 (PORT=8001, DATA=folder)
	@exec $(RUN) bot demo --port $(PORT) $(if $(DATA),--data $(DATA))

test: $(VENV)/.dev system-packages static  ## every check and every test, on SQLite, PostgreSQL and Chromium
	@$(RUN) pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/.dev static  ## format, lint, types, knowledge and the fast tests: about a minute
	@$(RUN) pytest -q -n $(WORKERS) --dist worksteal -m "$(FAST)"

static: $(VENV)/.dev
	@$(RUN) ruff format --check --quiet $(SOURCES) || { echo "Some files are not formatted: run 'make format'." >&2; exit 1; }
	@$(RUN) ruff check --quiet $(SOURCES)
	@$(RUN) mypy
	@$(RUN) knowledge.check

bench: $(VENV)/.dev system-packages  ## callbacks, questions and deliveries a second, beside bare handlers
	@$(RUN) tests.bench

fuzz: $(VENV)/.dev  ## fuzz the callback parser for a minute, guided by coverage (SECONDS=600)
	@$(RUN) pip install --quiet "atheris>=2.3"
	@$(RUN) tests.fuzz $(or $(SECONDS),60)

knowledge: $(VENV)/.dev  ## rebuild what the matcher reads from the knowledge entries
	@$(RUN) knowledge.build

format: $(VENV)/.dev  ## put every file into the common format
	@$(RUN) ruff check --quiet --fix-only $(SOURCES)
	@$(RUN) ruff format --quiet $(SOURCES)

lock: $(VENV)/.dev  ## write requirements*.lock from pyproject.toml (UPGRADE=1 takes newer versions)
	@$(RUN) pip install -qq uv
	@$(COMPILE) --output-file requirements.lock >/dev/null
	@$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock >/dev/null

clean:  ## remove the environment and every cache; var/ (the data) stays
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
	@find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

system-packages:
	@.ci/system-packages

# The environment, made when it is missing and filled again when a lock file is newer than its stamp.
ifneq ($(shell test -x $(VENV)/bin/python && echo ready),ready)
.PHONY: $(VENV)/.runtime $(VENV)/.dev
endif

$(VENV)/.runtime: requirements.lock
	@.ci/environment $(PYTHON) $(VENV) $<
	@touch $@

$(VENV)/.dev: requirements-dev.lock
	@.ci/environment $(PYTHON) $(VENV) $<
	@touch $(VENV)/.runtime $@
