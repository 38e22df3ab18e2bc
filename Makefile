# Two commands: `make demo` and `make test`. Both do all set-up on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CALLS ?= 200000

export DAGSTER_DISABLE_TELEMETRY := yes
export DBT_SEND_ANONYMOUS_USAGE_STATS := false
export GX_ANALYTICS_ENABLED := false
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo demo-clean ui test check lint types contracts sql dbt-build bench focus-validate prices lock clean

help: ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## create the environment in .venv

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## seed an organisation in a real Postgres and close its last months (CALLS=200000)
	$(BIN)/tokengov demo --calls $(CALLS)

demo-clean: ## forget the demo
	rm -rf .demo

ui: setup ## open the demo in Dagster's UI on 127.0.0.1:3000
	$(BIN)/tokengov ui --home .demo

test: setup ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

check: lint types contracts sql dbt-build ## everything but the tests

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

sql: setup
	$(BIN)/sqlfluff lint dbt_project/models dbt_project/tests

dbt-build: setup ## every model, test and unit test on an empty home
	$(BIN)/python -m tests.dbt_build

bench: setup ## extraction, close, daily build, rules and pack against their yardsticks (about 20 minutes, 5 GB of temporary files)
	$(BIN)/python -m benchmarks.extract
	$(BIN)/python -m benchmarks.close
	$(BIN)/python -m benchmarks.daily
	$(BIN)/python -m benchmarks.rules
	$(BIN)/python -m benchmarks.pack

focus-validate: setup ## run the official FOCUS validator on a file of a pack (FILE=...; needs Python 3.12)
	$(BIN)/python -m scripts.validate_focus $(FILE)

prices: setup ## say whether the checked-in price list is what genai-prices and the reviewed rows give
	$(BIN)/python -m scripts.price_seed --check

lock: setup ## resolve requirements.lock again (hashes, no download addresses)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-strip-extras --extra dev pyproject.toml -o requirements.lock

clean: demo-clean ## remove environment, caches and the demo
	rm -rf $(VENV) dbt_project/target dbt_project/logs .pytest_cache .mypy_cache .ruff_cache
