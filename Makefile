# `make up` runs Lyceum on this machine, `make test` runs all that CI runs. `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TARGET := $(or $(CARGO_TARGET_DIR),target)
LYCEUM := $(abspath $(TARGET))/debug/lyceum
export LYCEUM_BIN := $(LYCEUM)
SUPABASE := SUPABASE_TELEMETRY_DISABLED=1 DO_NOT_TRACK=1 SUPABASE_NO_UPDATE_NOTIFIER=1 \
  SUPABASE_HOME=$(CURDIR)/.lyceum/tools/supabase node_modules/.bin/supabase
SCHEMAS := public,lms,content,media,billing,analytics,private,audit,ops
PG_PROVE_JOBS ?= 2
SCALE ?= s

heading = @printf '\033[1m==> %s\033[0m\n' "$(1)"

.PHONY: help
help: ## List the commands
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Running -------------------------------------------------------------------------------------------------------------

.PHONY: up down logs reset status
up: build ## Install what is missing, build, start everything, load the demo; prints addresses, keys and logins
	@$(LYCEUM) up

down: ## Stop everything; the data stays
	@if [ -x $(LYCEUM) ]; then $(LYCEUM) down --all; fi

logs: ## Follow the logs of all parts
	@$(LYCEUM) logs --follow

reset: build ## Make the database anew: migrations and demo; all data is lost
	@$(LYCEUM) reset

status: ## Show what runs, where, and with which keys
	@$(LYCEUM) status

# Building ------------------------------------------------------------------------------------------------------------

.PHONY: setup build schema types matrix bench
setup:
	@infra/local/setup

build: setup
	@cargo build --quiet --workspace --bins

schema: build ## Write supabase/schema.sql, the snapshot of the freshly migrated database
	@$(LYCEUM) schema

bench: build ## Measure what docs promise, on generated data (SCALE=s or m)
	@$(LYCEUM) bench run --scale $(SCALE)

types: build ## Write supabase/types.ts, the TypeScript types of the exposed schemas
	@$(LYCEUM) types

matrix: setup ## Write the tables of docs/security.md from tests/access
	@node tests/access/table.mjs

# Testing -------------------------------------------------------------------------------------------------------------

# Each step runs alone, too. The tests' database server starts with the first step that needs it; `test` stops it.
STEPS := lint lint-migrations lint-database check-generated test-rust test-database test-access test-client test-e2e

.PHONY: test proof mutants $(STEPS)
test: ## Everything that CI runs
	@trap '$(LYCEUM) --stack test down >/dev/null 2>&1 || true' EXIT; \
	for step in $(STEPS); do \
	  started=$$SECONDS; \
	  $(MAKE) $$step || { printf '\n%s\n' "FAILED: make $$step" >&2; exit 1; }; \
	  printf '    %s: %s s\n' "$$step" "$$((SECONDS - started))"; \
	done; \
	printf '\n%s\n' "All of it passed."

lint: setup ## Formatting, and clippy with warnings as errors
	$(call heading,Formatting and clippy)
	@cargo fmt --all -- --check
	@cargo clippy --quiet --workspace --all-targets -- -D warnings

lint-migrations: setup ## squawk on the migrations
	$(call heading,squawk: unsafe statements in migrations)
	@.lyceum/tools/python/bin/squawk supabase/migrations/*.sql

lint-database: build ## plpgsql_check and Supabase's advisors on a fresh database
	$(call heading,supabase db lint: plpgsql_check)
	@$(LYCEUM) with-database --content pgtap -- \
	  env $(SUPABASE) db lint --remote={DB_URL} --schema $(SCHEMAS) --level warning --fail-on warning
	$(call heading,supabase db advisors: security and performance)
	@$(LYCEUM) with-database -- env $(SUPABASE) db advisors --remote={DB_URL} --level warn --fail-on warn

check-generated: build ## supabase/schema.sql and supabase/types.ts are up to date
	$(call heading,Generated files are up to date)
	@$(LYCEUM) schema --check
	@$(LYCEUM) types --check

test-rust: build ## Rust tests without the end-to-end ones
	$(call heading,Rust tests)
	@cargo test --quiet --workspace --exclude lyceum-e2e

test-database: build ## pgTAP, each file on a database of its own
	$(call heading,Database tests: pgTAP)
	@pg_prove --jobs $(PG_PROVE_JOBS) --psql-bin infra/local/psql-own-database --recurse --ext .sql supabase/tests/database

proof: build ## Every race of the tests 1,000 times (RACES=n), 10,000 graded attempts, 1,000 people for a year; a quarter of an hour
	$(call heading,Races)
	@LYCEUM_RACES=$(or $(RACES),1000) LYCEUM_ATTEMPTS=10000 \
	  cargo test --quiet --package lyceum-e2e --test concurrency --test attempts --test grading --test training

mutants: build ## Break one rule of the database at a time, and see a test notice (ONLY=text, JOBS=n); minutes to an hour
	$(call heading,Mutants)
	@$(LYCEUM) with-database --content pgtap -- node tests/mutation/run.mjs

test-access: build ## The access matrix (tests/access), every cell over HTTP
	$(call heading,Access matrix)
	@node --test tests/access/*.test.mjs

test-client: build ## supabase-js against sandboxes
	$(call heading,Client tests: supabase-js)
	@node --test tests/client/*.test.mjs

test-e2e: build ## Rust, over HTTP, against sandboxes
	$(call heading,End-to-end tests over HTTP)
	@cargo test --quiet --package lyceum-e2e
