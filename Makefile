# `make help` lists the targets.

VENV  := .venv
BIN   := $(VENV)/bin
BUILD := build
PIP   := $(BIN)/python -m pip --quiet --disable-pip-version-check

# the first of these that is a Python >= 3.11 makes the environment; choose with `make test PYTHON=...`
PYTHON ?= python3 python3.13 python3.12 python3.11
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# parallel test processes: one more than cores, because many tests wait for a server
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

# rooms whose tests start servers, browsers, notebooks or builds, or try thousands of examples;
# `make check` leaves them out
SLOW_TESTS := contract discovery docs gateway integrations notebooks stateful testing threads test_packaging.py \
  test_pages.py test_site.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo plan-demo test check lint bench docs clean

help: ## list what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.for-demo ## hosts, a gateway and 200 clients live: the pool changes, every session is counted
	$(BIN)/hashring demo

plan-demo: $(BUILD)/sample.log ## show who would move if web5 joined web1 to web4, on a generated log
	$(BIN)/hashring plan $< --hosts web1,web2,web3,web4 --add web5

test: lint ## check style and types, then run every test and every doctest
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: lint ## check style and types, then run the quick tests that need no server
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m 'not slow' \
	  $(addprefix --ignore=tests/,$(SLOW_TESTS)) --ignore=hashring/testing

lint: $(VENV)/.for-dev ## check style and types only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/.for-dev ## measure speed, memory and balance
	$(BIN)/python -m benchmarks

docs: $(VENV)/.for-docs ## build the guide into build/docs
	$(BIN)/python -m sphinx -q -W --keep-going -d $(BUILD)/docs-trees docs $(BUILD)/docs
	@echo "open $(BUILD)/docs/index.html"

clean: ## remove the environment, the caches and all that was built
	rm -rf $(VENV) $(BUILD) dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BUILD)/sample.log: $(VENV)/.for-demo
	@mkdir -p $(BUILD)
	$(BIN)/hashring sample-log > $@

# Stamps: an installation is repeated only when what it reads has changed.

$(VENV)/.made:
	@for python in $(PYTHON); do \
	  if $$python -c '$(USABLE)' 2>/dev/null; then \
	    echo "making $(VENV) with $$python ($$($$python --version))"; \
	    rm -rf $(VENV); $$python -m venv $(VENV) || exit 1; touch $@; exit 0; \
	  fi; \
	done; \
	echo "hashring needs Python >= 3.11 with its venv module; tried: $(PYTHON)." >&2; \
	echo "Install one, or name yours: make PYTHON=/path/to/python3 ..." >&2; exit 1

$(VENV)/.for-demo: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing hashring and its command line into $(VENV)"
	@$(PIP) install -c constraints.txt -e '.[cli,gateway]'
	@touch $@

$(VENV)/.for-docs: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing hashring and what builds its guide into $(VENV)"
	@$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/.for-dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing hashring, every extra and the development tools into $(VENV)"
	@$(PIP) install -c constraints.txt -e '.[all,dev]'
	@touch $@ $(VENV)/.for-demo $(VENV)/.for-docs
