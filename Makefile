# Every target installs what it needs into .venv first; when that is done already, it takes milliseconds.
PYTHON ?= python3
DEMO = $(PYTHON) deploy/local/bootstrap.py demo
DEV = $(PYTHON) deploy/local/bootstrap.py dev
SETS = web model spark demo dev
.DEFAULT_GOAL := help
.PHONY: help demo test lint loadtest breakpoint faults bench screenshots vitals lock clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 16

demo:  ## the whole of Aisle on this machine, at http://localhost:8000 (PORT=… for another)
	@$(DEMO) -m deploy.local demo

test:  ## every test
	@$(DEV) -m pytest -n logical --maxprocesses 4 --dist worksteal

lint: export DEMO = 1
lint:  ## style, types, boundaries, and migrations that somebody forgot
	@$(DEV)
	.venv/bin/ruff check . && .venv/bin/ruff format --check .
	.venv/bin/mypy storefront recommender ml loadtests deploy && .venv/bin/lint-imports
	.venv/bin/python manage.py makemigrations --check --dry-run

loadtest:  ## the average hour against the running demo, judged by loadtests/slo.toml
	@$(DEV) -m deploy.local env --run .venv/bin/python -m loadtests run average

breakpoint:  ## the highest rate at which the running demo still holds its objectives
	@$(DEV) -m deploy.local env --run .venv/bin/python -m loadtests breakpoint

faults:  ## a stack of its own, broken part by part under load
	@$(DEV) -m loadtests faults

bench:  ## every figure of the serving and learning paths, in a quarter of an hour
	@$(DEV) -m loadtests.bench

screenshots:  ## the README's pictures, from the running demo
	@$(DEV) -m deploy.local env --run .venv/bin/python -m deploy.local screenshots

vitals:  ## LCP, CLS, INP and kilobytes of every type of page of the running demo
	@$(DEV) -m deploy.local env --run .venv/bin/python -m deploy.local vitals

lock:  ## compile pyproject.toml's dependency groups into requirements/, with hashes
	@$(DEV)
	@for set in $(SETS); do .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --group $$set --custom-compile-command "make lock" -o requirements/$$set.txt || exit 1; done

clean:  ## forget the demo's database, objects, registry and logs; .venv stays
	@$(or $(wildcard .venv/bin/python),$(PYTHON)) -m deploy.local clean
