.DEFAULT_GOAL := help
PY := .venv/bin/python
AVALIST := .venv/bin/avalist
STAMP := .venv/.stamp
BASE_PYTHON ?= python3
# Else each process that tests start compiles all sources anew, which takes three seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test nightly kernels servers services faults check bench docs sdk openapi fuzz fuzz-decoder clean lock
MINUTES ?= 10

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv with the pinned packages
$(STAMP): requirements.lock pyproject.toml
	@$(BASE_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Avalist needs Python 3.11 or newer: make setup BASE_PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(PY) || $(BASE_PYTHON) -m venv .venv
	@echo "installing the pinned packages into .venv (about 1 GB the first time)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(STAMP)

demo: setup ## Simulate a gift-card merchant, train its model, serve it, play live traffic with a wave (DETACH=1: stop after it)
	@$(AVALIST) demo $(if $(DETACH),--detach,)

test: setup servers kernels ## Run every test, in two halves side by side
	@$(PY) -m $(if $(ARGS),pytest $(ARGS),tests.halves)

nightly: setup ## Run the property tests with random examples, 10,000 of each of the kernel: hours
	@AVALIST_HYPOTHESIS=nightly $(PY) -m pytest tests/property tests/unit --timeout=0 $(ARGS)

kernels: setup ## Compile the kernels ahead: else the first start in a checkout does, for a minute
	@$(PY) -c 'from avalist.app.warm import warm_up; warm_up([])'

servers: setup ## Build the servers that tests run: MongoDB's protocol, S3 (needs Go; some minutes, once)
	@$(PY) -m tests.services.server

check: setup ## Format, lint, types, layers
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports

bench: setup ## Run a benchmark: make bench NAME=decide (ARGS="..." passes options)
	@test -n "$(NAME)" || { echo "usage: make bench NAME=$$(ls bench/*.py | xargs -n1 basename | sed 's/\.py//;/^_/d' | paste -sd'|')"; exit 2; }
	@$(PY) -m bench.$(NAME) $(ARGS)

docs: setup ## Check the docs: links, settings, errors, endpoints, metrics, examples
	@$(PY) -m pytest tests/docs $(ARGS)

services: setup ## Start real servers on loopback, without Docker: three Kafka brokers (Java 17, Maven); DOWN=1 stops them
	@$(PY) -m tests.services.kafka $(if $(DOWN),down,up) --brokers 3 --folder build/services/cluster

faults: setup servers ## Break an installation over Kafka in every way we know, a few minutes long (Java 17, Maven)
	@AVALIST_FAULTS=1 $(PY) -m pytest tests/integration/test_cluster.py tests/integration/test_cluster_faults.py tests/integration/test_killed_workers.py tests/integration/test_full_disk.py $(ARGS)

fuzz: setup ## Fuzz a service of its own from its OpenAPI document: make fuzz MINUTES=60
	@$(PY) -m tests.fuzz.api --minutes $(MINUTES) $(ARGS)

fuzz-decoder: setup ## Fuzz the decoders with atheris (first: .venv/bin/pip install -e '.[fuzz]'): make fuzz-decoder MINUTES=10
	@$(PY) -m tests.fuzz.decoder -max_len=4096 -max_total_time=$$(( $(MINUTES) * 60 )) $(ARGS)

sdk: setup ## Write the types of the clients anew from docs/reference/openapi.json (needs npm)
	@$(PY) sdk/generate.py
	@cd sdk/typescript && npm ci --ignore-scripts --no-audit --no-fund && npm run types

openapi: setup ## Write docs/reference/openapi.json anew from the code
	@$(PY) -m avalist.api.openapi docs/reference/openapi.json

lock: ## Pin the newest versions that pyproject.toml allows (needs uv)
	@uv pip compile --quiet --no-header --no-annotate --extra dev --python-version 3.11 pyproject.toml -o requirements.lock

clean: ## Remove what the targets made
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf sdk/python/build sdk/typescript/node_modules sdk/typescript/dist sdk/typescript/build sdk/typescript/test/examples
