# Everything a contributor runs. Needs Python 3.11 or newer with pip, and make; nothing else.
#
#   make PYTHON=/path/to/python3.13 …   another interpreter (after `make clean-venv`)
#   make test ARGS="-k lane -x"         arguments for pytest
#
# `.venv` is made once from the committed uv.lock, and again when pyproject.toml or uv.lock is newer.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.synced
UV    := $(BIN)/uv
ARGS  ?=

# uv takes what is installed; its own interpreters come from a host that not every network lets through.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(VENV)
# An environment activated elsewhere is not ours to change.
unexport VIRTUAL_ENV

# The first interpreter that starts and is new enough (a version manager's shim may exist and still not start).
FIND_PYTHON = for p in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done

.PHONY: help venv demo test lint format typecheck bench lock ci clean clean-venv

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## Make .venv from uv.lock (every other target does it when needed)

$(UV):
	@python="$$($(FIND_PYTHON))"; \
	if [ -z "$$python" ]; then \
		echo "No Python 3.11 or newer found. Install one, or name it: make PYTHON=/path/to/python3.13" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version) ($$python)"; \
	if "$$python" -c 'import ensurepip' >/dev/null 2>&1; then \
		"$$python" -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; \
	else \
		"$$python" -m venv --without-pip $(VENV) && "$$python" -m pip --python $(BIN)/python install --quiet uv; \
	fi

# `--inexact` leaves in place what the lock does not know: uv itself and pip.
$(STAMP): pyproject.toml uv.lock | $(UV)
	@$(UV) sync --frozen --all-extras --inexact --quiet
	@touch $@

demo: $(STAMP) ## Play the main job: sagas, a kill -9 in the middle, and books that add up
	@$(BIN)/qwit demo $(ARGS)

test: $(STAMP) ## Run the tests on two processes; ARGS="-k lane -x" goes to pytest
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(STAMP) ## Check style: ruff check, ruff format --check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(STAMP) ## Rewrite in style what ruff can rewrite
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

typecheck: $(STAMP) ## Check types with mypy and pyright, both strict
	@$(BIN)/mypy
	@$(BIN)/pyright

bench: $(STAMP) ## Run the benchmarks; ARGS goes to them
	@$(BIN)/python benchmarks/bench.py $(ARGS)

lock: $(UV) ## Write uv.lock anew from pyproject.toml, newest versions, PyPI only
	@$(UV) lock --upgrade --no-config --default-index https://pypi.org/simple
	@! grep -nE '(https?|file)://' uv.lock | grep -vE '"https://(pypi\.org|files\.pythonhosted\.org)/' \
		|| { echo "uv.lock names a host that is not PyPI" >&2; exit 1; }

# The tests come last, so that pytest's summary closes the output.
ci: ## What continuous integration runs: lint, typecheck, test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory typecheck
	@$(MAKE) --no-print-directory test

clean: ## Remove what builds, checkers and tests left behind (not .venv)
	@rm -rf build dist site htmlcov .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-venv: ## Remove .venv
	@rm -rf $(VENV)
