# Two commands on a fresh machine: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
CORES ?= 2
CONFIG ?= config/demo.yaml
BIN := .venv/bin
SETUP := .venv/.setup
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# Where this is set, no compiled module is kept, and each of a run's many processes compiles torch again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test slurm lint format bench paper mutation audit relock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(SETUP) ## install everything, locked, into .venv

# Done again only where the lock or the project's description changed. The package itself stays where it is.
# Two packages have no wheel. They are built by the locked setuptools, with its hash, not by the newest one.
# Python compiles a module when it first imports it, and a run needs few of the 18,000 that pip would compile.
$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
		"Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv; this takes some minutes the first time."
	@awk '/^[^ ]/ {taken = /^setuptools==/} taken' requirements.lock > .venv/build.lock
	@$(PIP) install --require-hashes -r .venv/build.lock
	@$(PIP) install --no-compile --require-hashes --no-build-isolation -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

demo: $(SETUP) ## the toy paper: phantom heads to tables, on 2 cores (CORES=n for more)
	$(BIN)/snakemake all --cores $(CORES) --configfile config/demo.yaml

test: $(SETUP) ## every test but those that start a Slurm, in CORES processes (COVERAGE=yes: with coverage)
	$(BIN)/python -m pytest -m "not slurm" -n $(CORES) --dist loadfile --no-loadscope-reorder \
		$(if $(COVERAGE),--cov)

slurm: $(SETUP) ## the whole workflow through a real Slurm on this machine
	$(BIN)/python -m pytest tests/slurm -m slurm

lint: $(SETUP) ## style of Python and rules, layers of imports, types, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/codespell

format: $(SETUP) ## fix the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

# A script that lacks what it measures on, a GPU, says so and exits with 2.
bench: $(SETUP) ## every claim about speed and memory, against a peer
	@status=0; for script in bench/*.py; do \
		echo "== $$script"; $(BIN)/python "$$script" || [ $$? -eq 2 ] || status=1; \
	done; exit $$status

# Snakemake is asked what is out of date and runs nothing, so that nothing trains.
paper: $(SETUP) ## tables and figures again from results that exist (CONFIG=config/...)
	$(BIN)/python -m braing3n paper again --config $(CONFIG)

# mutmut is used as a library, which needs libcst alone; neither is in the lock. For the night: two hours.
mutation: $(SETUP) ## count the planted faults that tests notice (WORDS="probe volumes" for two folders)
	@$(PIP) install --no-deps mutmut==3.8.1 libcst==1.9.0
	$(BIN)/python tests/mutation/run.py $(WORDS)

# Asks a public database by name and version, and fails where a package cannot be looked up.
audit: $(SETUP) ## look for known vulnerabilities in the locked packages
	@test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && \
		.venv-audit/bin/python -m pip --quiet --disable-pip-version-check install pip-audit==2.9.0; }
	.venv-audit/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.lock

ifdef STAGE
relock: $(SETUP) ## the lock of packages; with STAGE=word, of a stage whose change is harmless
	$(BIN)/python -m braing3n stages relock --stage $(STAGE)
else
# The lock has no header and no address, so that it says the same wherever it was made.
relock: $(SETUP)
	$(PIP) install "pip-tools>=7.5"
	$(BIN)/python -m piptools compile --quiet --upgrade --allow-unsafe --strip-extras --generate-hashes \
		--no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --all-extras \
		--output-file requirements.lock pyproject.toml
	$(BIN)/python envs/write.py
	@touch $(SETUP)
endif
