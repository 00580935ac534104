# Every target makes .venv and installs what it needs, once; `make help` lists the targets.

# The first interpreter that is new enough, 3.11 before others: it is the one the checks run with.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)
VENV ?= .venv
# More options for tools, such as PYTEST_FLAGS="-x -k loss" or TORCH_FLAGS="--index-url …" where the
# package index offers no CPU build of torch by itself.
PYTEST_FLAGS ?=
TORCH_FLAGS ?=
WORKERS ?= 2

RUN := $(VENV)/bin/python -m
INSTALL := $(RUN) pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Two workers with one thread each are faster and more repeatable than two with all threads each.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo federation test test-slow check lint format docs mutate bench bench-speed bench-quality clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/core.stamp ## train a federation of five synthetic hospitals and write its report
	$(VENV)/bin/concilium demo

federation: $(VENV)/flower.stamp ## a coordinator and three hospitals as processes, compared with one process (three minutes)
	$(VENV)/bin/concilium federation trial

test: $(VENV)/dev.stamp ## the fast tests, with two workers
	$(ONE_THREAD) $(RUN) pytest -n $(WORKERS) $(PYTEST_FLAGS)

test-slow: $(VENV)/dev.stamp ## the tests marked slow (every night)
	$(ONE_THREAD) $(RUN) pytest -n $(WORKERS) -m slow $(PYTEST_FLAGS)

check: lint test ## all that must hold before a change goes in: format, lint, types, layers, tests

lint: $(VENV)/dev.stamp ## format, lint, types and layers, without the tests
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/dev.stamp ## put the code into its format and mend what can be mended by itself
	$(RUN) ruff format
	$(RUN) ruff check --fix

docs: $(VENV)/dev.stamp ## write docs/methods anew from the docstrings
	$(RUN) docs.make_methods
	$(RUN) docs.make_recipes

mutate: $(VENV)/dev.stamp ## plant faults one at a time; the fast tests must catch 95 % (every night)
	$(RUN) tests.mutation

bench: $(VENV)/dev.stamp ## run every benchmark and print what it measured
	@failed=; for script in benchmarks/[!_]*.py; do \
		echo "== $$script"; \
		$(VENV)/bin/python "$$script" || failed="$$failed $$script"; \
	done; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

bench-speed: $(VENV)/dev.stamp ## time rounds beside other simulators, each in an environment of its own (30 minutes)
	TORCH_FLAGS="$(TORCH_FLAGS)" $(VENV)/bin/python benchmarks/speed
	$(VENV)/bin/python benchmarks/speed/features.py
	$(VENV)/bin/python benchmarks/speed/many_hospitals.py
	$(VENV)/bin/python benchmarks/speed/profile_round.py

bench-quality: $(VENV)/dev.stamp ## the quick grid of the benchmark of quality, its tables and its page (20 minutes)
	$(VENV)/bin/python benchmarks/quality --quick
	$(VENV)/bin/python benchmarks/quality --quick --tables

clean: ## remove the virtual environment and everything that tools left behind
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf src/*.egg-info

# The stamps are written last: an installation that was interrupted is taken up again.
$(VENV)/core.stamp: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "concilium needs Python 3.11 or newer: make PYTHON=…" >&2; exit 1; }
	@$(RUN) pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing into $(VENV): a few minutes the first time"
	$(INSTALL) $(TORCH_FLAGS) torch
	$(INSTALL) --editable .
	@touch $@

$(VENV)/flower.stamp: $(VENV)/core.stamp
	$(INSTALL) --editable ".[flower]"
	@touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	$(INSTALL) --editable ".[dev,flower,pretrained]"
	@touch $@
