# The developer's loop. `make` alone prints this help; every target sets up what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PORT HOST DATA ROADSTEAD_ADMIN_PASSWORD

help: ## Print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/server ## Install the server, the command line and the steps of deploying into .venv

run: $(VENV)/server ## Start the registry at http://127.0.0.1:5000 (PORT=, HOST=, DATA=, ROADSTEAD_ADMIN_PASSWORD=)
	@exec $(BIN)/roadstead run

serve: $(VENV)/server ## Start it over S3 and DynamoDB services that are there (see the README's settings)
	@exec $(BIN)/roadstead serve

test: $(VENV)/dev ## Prove it: every test that needs only Python
	@$(BIN)/pytest -n auto

engines: $(VENV)/dev ## The storage contract on moto, ministack and SeaweedFS
	@$(BIN)/pytest -m engines

lint: $(VENV)/dev ## Lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

check: lint test ## Lint, types, tests and docs

fix: $(VENV)/dev ## Format, and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clients: $(VENV)/dev ## Install and run the real clients: docker, ctr, skopeo, podman, crane, oras, helm, ...
	@tests/clients/install.sh
	@$(BIN)/pytest tests/clients -m clients -s
	@tests/distribution/install.sh
	@$(BIN)/pytest tests/distribution

conformance: $(VENV)/server ## Run the OCI conformance suite, stable and development settings
	@tests/conformance/run.sh

aws: $(VENV)/dev ## Deploy to emulated AWS, both ways, and run real clients and the OCI suite there
	@tests/clients/install.sh
	@$(BIN)/pytest -m aws -n 2 --dist loadfile

soak: $(VENV)/dev ## The long runs: 10 000 steps of the state machine, kills at every S3 request
	@# They wait as much as they compute, and some for minutes: a worker more than cores, and whoever is free takes the next.
	@$(BIN)/pytest -m soak -n $$(($$(nproc) + 1)) --dist worksteal

bench: $(VENV)/dev ## Compare with docker-registry on the same delayed S3 (QUICK=1 for a short run)
	@$(BIN)/python -m bench $(if $(QUICK),--quick)

cost: $(VENV)/dev ## Dollars for pulls, pushes and storage on AWS, beside Harbor's and ECR's
	@$(BIN)/python -m bench.cost

$(VENV)/server: pyproject.toml requirements.txt requirements-given.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Roadstead needs Python 3.11 or later: name one with PYTHON="; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the server into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[server]'
	@touch $@

$(VENV)/dev: $(VENV)/server
	@echo "Installing the tools of development into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[server,dev]'
	@touch $@

.PHONY: help install run serve test engines lint check fix clients conformance aws soak bench cost
