# SPDX-License-Identifier: GPL-2.0-only
# setup, run, test, check, bench, clean and a few more; everything they need they install.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
SCENARIO ?= configs/scenarios/two_cgroups.toml
C_SOURCES := $(wildcard guest/*/*.c guest/*/*.h)

.PHONY: setup run test check guest kernel bench mutate clean help

help: ## What the targets do
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

setup: $(VENV)/.ready ## Install Debian packages and the Python environment

# The stamp is older than its inputs whenever the package lists change.
$(VENV)/.ready: pyproject.toml scripts/setup
	@scripts/setup $(VENV)

run: setup ## Run a scenario: make run [SCENARIO=file.toml]
	@$(BIN)/ktstr-run $(SCENARIO)

# What boots guests has the host to itself; the rest runs on two CPUs at a time.
test: setup ## Unit, property and real-VM tests
ifdef PYTEST_ARGS
	@$(BIN)/pytest $(PYTEST_ARGS)
else
	@status=0; \
	$(BIN)/pytest -n 2 --dist loadfile --ignore tests/vm || status=1; \
	$(BIN)/pytest tests/vm || status=1; \
	exit $$status
endif

check: setup ## Format, lint, types, layers, shell, C format
	@scripts/check $(BIN)

guest: setup ## Build the guest image
	@$(BIN)/ktstr image

kernel: setup ## Fetch the default kernel
	@$(BIN)/ktstr kernel fetch debian:7

bench: setup ## Measure, and print a table of figures against their bars
	@$(BIN)/python -m tests.bench $(BENCH_ARGS)

mutate: setup ## Break the statistics line by line and see that a test fails
	@$(BIN)/python -m tests.mutation

clean: ## Remove the environment, results and build output (not the user's cache)
	rm -rf $(VENV) build dist ktstr-runs .mypy_cache .ruff_cache .hypothesis .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
