# SPDX-License-Identifier: Apache-2.0
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CLUSTER ?= auto
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UV := uv==0.13.9
export BENTOML_DO_NOT_TRACK := true
export PYTHONPATH := dev/cluster:dev/demo
PYTEST := $(BIN)/python -m pytest

##@ The main job
demo: $(INSTALLED) ## A cluster, images, the operator, three examples on real data, requests and their answers (CLUSTER=kind|embedded|current)
	$(BIN)/python -m endcap_demo --cluster=$(CLUSTER)

example: $(INSTALLED) ## Train the examples and write their artefacts
	$(BIN)/python examples/01-basket/train
	$(BIN)/python examples/02-live-features/train
	$(BIN)/python examples/03-ab-test/train

quality: $(INSTALLED) ## On held-out weeks: popularity, blend, ranker, the ranker with live features, and what the experiment should find
	$(BIN)/python examples/01-basket/train --evaluate
	$(BIN)/python examples/02-live-features/train --evaluate
	$(BIN)/python examples/03-ab-test/train --evaluate

##@ The cluster
cluster: $(INSTALLED) ## Start the cluster (CLUSTER=kind|embedded|current); says first what it installs
	$(BIN)/python -m endcap_cluster up --cluster=$(CLUSTER)

cluster-down: $(INSTALLED) ## Stop it and leave nothing behind
	$(BIN)/python -m endcap_cluster down --cluster=$(CLUSTER)

images: $(INSTALLED) ## Build every image and load it into the cluster
	$(BIN)/python -m endcap_cluster load

redis: # What tests of features start; a server that the package would start of its own is not wanted.
	@for program in redis-server redis-cli openssl; do command -v $$program >/dev/null || missing=1; done; \
	if test -n "$${missing:-}"; then echo "installing redis-server and openssl with apt-get"; apt-get update --quiet --quiet; \
	  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --quiet --quiet --no-install-recommends redis-server openssl; fi

##@ Proof
check: $(INSTALLED) ## ruff, mypy strict, import-linter: seconds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check verify test-unit test-integration test-cluster test-e2e ## Everything that proves it

test-unit: $(INSTALLED) ## Pure logic, golden plans, contracts with libraries
	$(PYTEST) tests/unit tests/golden tests/contract

test-integration: $(INSTALLED) redis ## Real servers on loopback: models, graphs, S3, Redis
	$(PYTEST) tests/integration

test-cluster: $(INSTALLED) redis ## A real API server
	$(PYTEST) tests/cluster

test-e2e: $(INSTALLED) ## Real pods, in the cluster that make demo leaves
	$(BIN)/python -m endcap_demo --cluster=$(CLUSTER)
	$(PYTEST) tests/e2e --ignore tests/e2e/test_cluster_lifecycle.py

test-lifecycle: $(INSTALLED) ## The embedded cluster from every crash, and gone without a trace; ends the one that runs
	ENDCAP_E2E_LIFECYCLE=1 $(PYTEST) tests/e2e/test_cluster_lifecycle.py

verify: $(INSTALLED) ## Generated files are what their sources say
	$(BIN)/python -m endcap_api.crd $(VENV)/crds
	diff -r $(VENV)/crds crds
	$(BIN)/python -m endcap_api.reference $(VENV)/reference.md
	diff $(VENV)/reference.md docs/reference.md

crds: $(INSTALLED) ## Generate crds/ and docs/reference.md from api/
	$(BIN)/python -m endcap_api.crd crds
	$(BIN)/python -m endcap_api.reference docs/reference.md

requirements: $(INSTALLED) ## Write the hashed pins anew
	PATH=$(abspath $(BIN)):$$PATH requirements/compile.sh

##@ Figures
bench: bench-model bench-graph bench-features bench-experiments bench-cluster ## Every benchmark: tables of measured, peer, ratio, goal

bench-model: $(INSTALLED) ## The model server beside stock BentoML, MLServer and KServe's
	$(BIN)/python tests/bench/bench_model.py

bench-graph: $(INSTALLED) ## The graph engine: CPU a request, and the whole basket request
	$(BIN)/python tests/bench/bench_graph.py
	$(BIN)/python tests/bench/bench_upstream.py
	$(BIN)/python tests/bench/bench_expressions.py

bench-features: $(INSTALLED) redis ## The feature store: lookups beside a raw MGET and Feast, ingest (ENDCAP_BENCH_REQUESTS=200000: the whole soak)
	$(BIN)/python tests/bench/bench_features.py
	$(BIN)/python tests/bench/feature_core.py
	$(BIN)/python tests/bench/bench_ingest.py

bench-experiments: $(INSTALLED) redis ## Experiments: assignment, verdicts on simulated shoppers, cost in a request, ingest of exposures
	for bench in tests/bench/experiments/bench_*.py; do $(BIN)/python $$bench; done

bench-cluster: $(INSTALLED) ## Times on the cluster: Ready, edit to served, drift to repaired, new weights to served, rollbacks
	$(BIN)/python tests/bench/bench_cluster.py
	$(BIN)/python tests/bench/bench_experiments_cluster.py

##@ Help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): requirements/dev.txt pyproject.toml
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: demo example quality cluster cluster-down images check test test-unit test-integration test-cluster \
  test-e2e test-lifecycle verify crds requirements redis bench bench-model bench-graph bench-features bench-experiments bench-cluster help
