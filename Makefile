# tradefleet: `make help` lists the targets. Needs Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KERNEL := $(VENV)/.kernel
BROKER := $(VENV)/.broker
PEERS := .venv-peers
TEST_PEERS := .venv-peers-of-tests

# Otherwise each of the hundreds of processes of a run would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install check check-types check-files test run-tests test-durations demo up down bench lock asyncapi errors schema clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) $(KERNEL) $(BROKER) ## Create .venv with all dependencies; quick if nothing changed

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "tradefleet needs Python 3.11 or newer: set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "Python's venv module is missing: install it (Debian: apt-get install python3-venv)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

$(KERNEL): $(STAMP) $(wildcard shared/strategy/backtest/integers/*.py) shared/strategy/tolerance.py
	@echo "compiling the kernel of backtests"
	@$(BIN)/python -c 'from shared.strategy.backtest.integers.compiled import load; load()'
	@touch $(KERNEL)

$(BROKER): $(STAMP) deploy/kafka/jars.sha256 stack/kafka.py
	@echo "preparing the broker"
	@$(BIN)/python -m stack.kafka_archive
	@touch $(BROKER)

check: install ## Check lint, types, import directions and generated files; `make test` does so beside the tests
	@$(MAKE) --no-print-directory --jobs=2 check-types check-files

check-types: install ## Check types only; takes as long as the other checks together
	@nice $(BIN)/mypy

check-files: install ## Check lint, import directions and generated files only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/tradefleet errors --check
	@$(BIN)/tradefleet asyncapi --check
	@$(BIN)/tradefleet schema --check

test: install ## Run check and all tests, on real Postgres and Kafka
	@$(MAKE) --no-print-directory --jobs=3 check-types check-files run-tests

# The tests wait for a third of the time: the checks use it, at a lower priority.
run-tests: install $(TEST_PEERS)/.installed
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-durations: install $(TEST_PEERS)/.installed ## Run the tests and list the 20 slowest
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -q --durations=20

demo: install ## Run several tenants on paper and on the sandbox exchange, and check the results
	@$(BIN)/tradefleet demo

up: install ## Start the whole platform on this machine; Ctrl-C stops it
	@$(BIN)/tradefleet up

down: install ## Stop the platform that runs in the background
	@$(BIN)/tradefleet down

bench: install $(PEERS)/.installed ## Run the benchmarks, compared with peers that are installed for them
	@$(BIN)/python -m benchmarks

$(PEERS)/.installed: benchmarks/requirements.lock
$(TEST_PEERS)/.installed: tests/peers/requirements.lock
$(PEERS)/.installed $(TEST_PEERS)/.installed:
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "installing the peers that we are compared with into $(@D)"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

lock: ## Pin every dependency by version and hash
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
		--no-emit-index-url --no-annotate --no-header pyproject.toml --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --constraint requirements.lock --generate-hashes \
		--no-emit-index-url --no-annotate --no-header benchmarks/requirements.in --output-file benchmarks/requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --constraint requirements.lock --generate-hashes \
		--no-emit-index-url --no-annotate --no-header tests/peers/requirements.in --output-file tests/peers/requirements.lock

errors: install ## Generate docs/errors.md, the list of all errors of the API
	@$(BIN)/tradefleet errors

schema: install ## Generate each service's schema.sql from its migrations
	@$(BIN)/tradefleet schema

asyncapi: install ## Generate the AsyncAPI file of all events
	@$(BIN)/tradefleet asyncapi

clean: ## Stop the platform and remove all installed and generated files
	@test ! -x $(BIN)/tradefleet || $(BIN)/tradefleet down --all --remove >/dev/null 2>&1 || true
	@rm -rf $(VENV) $(PEERS) $(TEST_PEERS) .tradefleet .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
