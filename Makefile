# The project's commands. Each makes what it needs first: a fresh clone and Python 3.11 or newer are enough.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help run test check docs audit rules bench chaos fuzz clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make run     a gateway on http://127.0.0.1:8080 in development mode
run: $(VENV)/run
	@exec $(BIN)/gateway serve --dev

## make test    the whole test suite, against a real Redis-compatible server from a wheel
test: $(VENV)/test
	$(BIN)/pytest

## make check   ruff, mypy --strict, the audit and the fast tests
check: $(VENV)/check audit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow" -x

## make docs    docs/settings.md and docs/metrics.md, from the code
docs: $(VENV)/test
	$(BIN)/python docs/reference.py

## make audit   known vulnerabilities of the dependencies, and of the oldest ones that are taken
audit: $(VENV)/check
	cd tests && ../$(BIN)/python -m supply

## make rules   deploy/prometheus/rules.yml, as Kubernetes and Helm have it
rules: $(VENV)/test
	cd tests && ../$(BIN)/python -m deploy.rules

## make bench   the gateway, without and with Redis, against a floor in C and other servers, 25 minutes; needs a C
##              compiler, and Go for some of them
bench: $(VENV)/test
	$(BIN)/python bench/fanout.py --peers all --redis start
	$(BIN)/python bench/workloads.py --memory --redis start --peers all --rounds 2

## make chaos   the long fault runs, with a table of what was seen
chaos: $(VENV)/test
	cd tests && ../$(BIN)/python -m chaos

## make fuzz    what parses, with inputs bred by the code that they reach; SECONDS=3600 for a long run
SECONDS ?= 360
fuzz: $(VENV)/test
	-$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	cd tests && ../$(BIN)/python -m fuzz --seconds $(SECONDS)

## make clean   everything that these commands made
clean:
	rm -rf $(VENV) bench/build build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: $(VENV)/bin/python setup.cfg pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/test $(VENV)/check: $(VENV)/%: $(VENV)/bin/python setup.cfg pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[catalogue,test,check,deploy]'
	@touch $(VENV)/run $(VENV)/test $(VENV)/check
