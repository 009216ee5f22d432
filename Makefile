# One environment in .venv serves every target. It holds exactly what the lock files name, and
# is made with uv where uv is on the PATH, otherwise with venv and pip.
#
#   make study PYTHON=/path/to/python3.12   a Python of your own choice
#   make study ARGS="--help"                arguments for the command that the target runs

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help study test soak bench lint lab docs readme lock clean

PYTHON ?=
UV ?= uv
ARGS ?=

BIN := .venv/bin
STUDY := .venv/.made-from-requirements-lock
DEV := .venv/.made-from-requirements-dev-lock
PACKAGE := .venv/.package-installed

# $(call install,ARGUMENTS): install into .venv with uv or pip, silent unless it fails.
install = if command -v "$(UV)" >/dev/null 2>&1; then \
	    "$(UV)" pip install --quiet --compile-bytecode --python $(BIN)/python $(1); \
	  else \
	    $(BIN)/python -m pip install -qq --disable-pip-version-check $(1); \
	  fi

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

study: $(STUDY) $(PACKAGE) ## Set up .venv if needed, then run the whole study (usjp study)
	@$(BIN)/usjp study $(ARGS)

# Every worker and every kernel imports the same modules: compiled once, whatever the environment says.
test: $(DEV) $(PACKAGE) ## Run the tests
	@OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= \
	  PYTEST_XDIST_AUTO_NUM_WORKERS=$$(( $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) + 1 )) \
	  $(BIN)/python -m pytest $(ARGS)

soak: $(DEV) $(PACKAGE) ## Run the tests that take minutes and print tables
	@$(BIN)/python -m pytest -m soak -n0 $(ARGS)

bench: $(DEV) $(PACKAGE) ## Measure speed as ratios within one run (outputs/bench.json)
	@$(BIN)/python tests/bench.py $(ARGS)

lint: $(DEV) $(PACKAGE) ## Check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

lab: $(STUDY) $(PACKAGE) ## Open the project in JupyterLab
	@$(BIN)/python -m jupyterlab $(ARGS)

docs: $(DEV) $(PACKAGE) ## Build the documentation (docs/_build/index.html), offline
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build $(ARGS)
	@echo "Documentation: docs/_build/index.html"

readme: $(STUDY) $(PACKAGE) ## Bring the README's figure and table, and generated pages of docs, up to date
	@$(BIN)/python docs/make_readme.py && $(BIN)/python docs/make_methods.py && \
	  $(BIN)/python docs/make_exhibits.py && $(BIN)/python docs/make_pages.py

lock: ## Bring both lock files up to date with pyproject.toml (needs uv; ARGS=--upgrade for newer versions)
	@command -v "$(UV)" >/dev/null 2>&1 || { echo "make lock needs uv on the PATH (or UV=/path/to/uv)" >&2; exit 1; }
	@$(call compile,requirements.lock)
	@$(call compile,requirements-dev.lock,--extra dev --extra docs --constraints requirements.lock)
	@echo "Wrote requirements.lock and requirements-dev.lock"

# $(call compile,FILE,MORE): --no-config and the unset variables keep out any local source.
compile = env -u UV_CONSTRAINT -u UV_DEFAULT_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS \
	    -u UV_INDEX -u UV_INDEX_URL -u UV_OVERRIDE UV_CUSTOM_COMPILE_COMMAND="make lock" \
	    "$(UV)" pip compile --quiet --no-config --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-emit-find-links --extra build $(2) \
	    $(ARGS) --output-file $(1) pyproject.toml

clean: ## Remove .venv, caches and builds; results and data stay
	@rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Removed .venv, caches and builds"

# A new lock file means a new environment, so that nothing from the old one stays behind.
$(STUDY): requirements.lock
	@python=; seen=; \
	for name in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
	  version=$$("$$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	  case "$$version" in \
	    3.11|3.12|3.13) python=$$name; break ;; \
	    *) seen="$${seen:+$$seen, }$$name is $$version" ;; \
	  esac; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11, 3.12 or 3.13 is needed ($${seen:-none found}): name one with PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	python=$$("$$python" -c 'import sys; print(sys.executable)') || exit 1; \
	rm -rf .venv || exit 1; \
	if command -v "$(UV)" >/dev/null 2>&1; then \
	  echo "Making .venv from requirements.lock with Python $$version and uv (needs the network once) ..."; \
	  "$(UV)" venv --quiet --no-project --python "$$python" .venv || exit 1; \
	else \
	  "$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$$python has no venv module: install it (Debian, Ubuntu: python3-venv), or install uv" >&2; exit 1; }; \
	  echo "Making .venv from requirements.lock with Python $$version and pip (needs the network once; takes a minute or more) ..."; \
	  "$$python" -m venv .venv || exit 1; \
	fi; \
	$(call install,--require-hashes -r requirements.lock) || exit 1; \
	touch $@

$(DEV): $(STUDY) requirements-dev.lock | $(PACKAGE)
	@echo "Adding the development tools from requirements-dev.lock ..."
	@$(call install,--require-hashes -r requirements-dev.lock)
	@touch $@

$(PACKAGE): $(STUDY) pyproject.toml
	@echo "Installing usjp-research itself, editable ..."
	@$(call install,--no-deps --no-build-isolation -e .)
	@touch $@
