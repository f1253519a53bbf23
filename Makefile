# Everything one does with a checkout. `make` alone lists it.

PYTHON ?= python3
BENCH ?=
TESTS ?=
SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help demo test test-vm check fix bench fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: ## three tiers, two networks, one published port: built, proved by real requests, taken away
	@scripts/packages demo
	@PYTHON=$(PYTHON) scripts/venv
	@.venv/bin/python examples/three-tier/run.py

test: ## every test, as root or not; what cannot run here says why. TESTS=tests/dns for some of them
	@scripts/packages test
	@PYTHON=$(PYTHON) scripts/venv dev
	@mkdir -p .vm
	.venv/bin/python -m pytest --junitxml=.vm/here.xml $(TESTS)

test-vm: ## what needs more of a kernel than this machine's may have, on Debian's own, under QEMU. TESTS=... for others
	@scripts/packages test
	@scripts/packages vm
	@PYTHON=$(PYTHON) scripts/venv dev
	@PYTHON=$(PYTHON) scripts/venv vm
	@.venv/bin/python -m tests.vm $(TESTS)

check: ## ruff, mypy --strict, import-linter, codespell
	@PYTHON=$(PYTHON) scripts/venv dev
	@.venv/bin/python -m pytest -q --no-header tests/test_checks.py

fix: ## let ruff mend and format what it can
	@PYTHON=$(PYTHON) scripts/venv dev
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

bench: ## measure side by side with Docker, netavark and CNI. BENCH=join,dns for some parts
	@scripts/packages bench
	@PYTHON=$(PYTHON) scripts/venv
	.venv/bin/python -m bench $(BENCH)

fuzz: ## bytes by the million where the resolver reads what others wrote. SECONDS=600 is the default
	@PYTHON=$(PYTHON) scripts/venv fuzz
	@.venv/bin/python -m tests.fuzz.run $(SECONDS)

clean: ## remove the virtual environment and all caches
	rm -rf .venv .vm build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
