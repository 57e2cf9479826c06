# Tidemark. `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
# An environment of another Python is removed; one that fits is kept, since a platform may run from it.
CLEAR = $(shell $(dir $@)bin/python -c '$(SUPPORTED)' 2>/dev/null || echo --clear)
# Python does not start from a path that isn't ASCII under LC_ALL=C.
ifneq ($(filter C POSIX,$(LC_ALL)),)
export LC_ALL := C.UTF-8
endif
# No part of the platform sends telemetry.
export DO_NOT_TRACK = 1
export DBT_SEND_ANONYMOUS_USAGE_STATS = false
export GX_ANALYTICS_ENABLED = false

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1mmake %-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- the two commands ---------------------------------------------------------------------------------------

.PHONY: up
up: install ## start the whole platform on this machine and post the first report (BROKER=memory, SOURCE=live)
	@$(if $(BROKER),TIDEMARK_LOCAL__BROKER=$(BROKER)) $(if $(SOURCE),TIDEMARK_LOCAL__SOURCE=$(SOURCE)) $(BIN)/tidemark up

.PHONY: test
test: install ## every test: static checks, unit, integration, Airflow, the whole platform end to end
	@infra/ci/stages static unit dags integration airflow end-to-end

# --- the platform -------------------------------------------------------------------------------------------

.PHONY: down status logs
down: install ## stop everything `make up` started, and nothing else
	@$(BIN)/tidemark down

status: install ## what runs, and where
	@$(BIN)/tidemark status

logs: install ## follow the logs (NAME=sink for one)
	@$(BIN)/tidemark logs $(NAME)

# --- working on it ------------------------------------------------------------------------------------------

.PHONY: install
install: $(STAMP) ## make the virtual environment from the lock

$(STAMP): requirements.lock pyproject.toml tidemark/exchanges/columnar/frames.c
	@$(PYTHON) -c '$(SUPPORTED)' \
	  || { echo "Tidemark needs Python 3.11 to 3.13; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing the locked environment into $(VENV) (about a minute the first time)"
	@$(PYTHON) -m venv $(CLEAR) $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m tidemark.exchanges.columnar.native
	@touch $@

.PHONY: unit
unit: install ## the unit tests alone (under a minute)
	@infra/ci/stages unit

.PHONY: faults
faults: install ## the fault suite: kills, races, zombies, outages, deletions, bad input
	@infra/ci/stages faults

MINUTES ?= 20
RATE ?= 10000

.PHONY: soak
soak: install ## memory of producer and sink under a steady stream (MINUTES=20 RATE=10000)
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --rate $(RATE)

FAULTS ?= 0
BUSY ?= 0

.PHONY: endure
endure: install ## the platform by its own schedule, and whether what it says of itself is true (MINUTES=75 FAULTS=20 BUSY=4)
	@$(BIN)/python -m tests.endure --minutes $(MINUTES) --faults $(FAULTS) --busy $(BUSY)

FROM ?=
ONLY ?=

.PHONY: matrix
matrix: install ## odd machines: ordinary account, odd paths, no Java, full disk, kills, upgrade (FROM=v1.2.0 ONLY=state,kafka)
	@$(BIN)/python -m tests.matrix $(if $(FROM),--from $(FROM)) $(if $(ONLY),--only $(ONLY))

YARDSTICKS := .tidemark/yardsticks

.PHONY: bench
bench: install $(YARDSTICKS)/.installed ## how fast it is against quixstreams and polars (ARGS="--quick --only json_to_arrow")
	@$(BIN)/python -m tests.bench --yardsticks $(YARDSTICKS)/bin/python $(ARGS)

# quixstreams needs an older client of Kafka than the platform: the yardsticks have an environment of their own.
$(YARDSTICKS)/.installed: tests/bench/requirements.lock
	@$(PYTHON) -m venv $(CLEAR) $(YARDSTICKS)
	@$(BIN)/uv pip sync --quiet --python $(YARDSTICKS)/bin/python --require-hashes $<
	@touch $@

.PHONY: check
check: install ## static checks: ruff, mypy, sqlfluff, hadolint, rendered contracts
	@infra/ci/stages static

.PHONY: fix
fix: install ## let ruff and sqlfluff repair what they can
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .
	@$(BIN)/sqlfluff fix --quiet dbt/models dbt/tests || true

.PHONY: contracts
contracts: install ## render the contracts again (Arrow, DDL, dbt sources, JSON Schema, reference page)
	@$(BIN)/python -m tidemark.contracts.render

.PHONY: docs
docs: install ## build dbt docs against the running platform
	@$(BIN)/tidemark docs

.PHONY: lock
lock: install ## resolve the dependencies again
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --all-extras pyproject.toml --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url pyproject.toml --constraint requirements.lock --output-file requirements-worker.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url tests/bench/requirements.in --output-file tests/bench/requirements.lock
