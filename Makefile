# What a newcomer types. Everything here works with GNU make 4.3 and with the 3.81 of macOS.

# A rustup that was installed a minute ago is not yet in the PATH of this shell.
export PATH := $(PATH):$(HOME)/.cargo/bin
# Where cargo builds. With --workspace everywhere: with one package alone Cargo chooses other features, and builds nearly all anew.
TARGET = "$${CARGO_TARGET_DIR:-target}"
# More arguments for `host dev`, the load and chaos commands and libFuzzer: make dev ARGS="--help"
ARGS =

.PHONY: help setup build release dev check test fuzz score bench load growth chaos package deploy-test clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing for all of the others (asks nothing; says what it does)
	@scripts/setup dev test

build: ## build host and component for development
	@scripts/setup build
	cargo build --workspace --locked

release: ## build target/release/host and target/release/worker.wasm
	@scripts/setup build
	cargo build --release --locked

dev: ## install, build and start everything, work the bundled receipts, stay up until Ctrl-C
	@scripts/setup dev
	cargo build --locked --workspace --bin host
	@exec $(TARGET)/debug/host dev --receipts tests/receipts $(ARGS)

check: ## format, lints, unit tests: what to run before each commit
	@scripts/setup build
	@scripts/check

test: ## every check of the project; CI runs exactly this
	@scripts/setup test
	@scripts/test

fuzz: ## feed bytes to what reads from outside; FUZZ_SECONDS=600 for each, FUZZ_TARGETS="response trace" for some
	@scripts/setup fuzz
	@ARGS="$(ARGS)" scripts/fuzz

score: ## count how many of the labelled receipts the component reads right
	@scripts/setup build
	cargo build --locked --workspace --bin host --bin score
	@$(TARGET)/debug/score --host $(TARGET)/debug/host --floor tests/score/floor.json $(ARGS)

bench: ## measure the guest's parser
	@scripts/setup build
	cargo bench --locked --package worker --bench parse

load: ## measure receipts a second through the whole path, with recorded OCR answers
	@scripts/setup dev
	cargo build --release --locked --package host --package load
	@$(TARGET)/release/load --host $(TARGET)/release/host --photo tests/receipts/X51008123446.jpg \
		--response tests/recordings/textract/big-box.json $(ARGS)

chaos: ## kill, stop, cut and confuse everything for minutes, by a seed, and see that no receipt is lost
	@scripts/setup test
	cargo build --release --locked --package host --package chaos
	@$(TARGET)/release/chaos --host $(TARGET)/release/host $(ARGS)

growth: ## measure the queue's statements on 11 million rows, and what a million jobs leave behind (8 GB of disk, half an hour)
	@scripts/setup dev
	cargo build --locked --workspace --bin growth
	@$(TARGET)/debug/growth $(ARGS)

package: ## build the zips for AWS Lambda into target/package, for x86-64 and arm64
	@scripts/setup package
	@scripts/package

deploy-test: ## what is deployed, under software that is not ours: takes minutes, installs it first
	@scripts/setup deploy
	cargo test --locked --workspace --test deploy -- --include-ignored --nocapture --test-threads 2

clean: ## remove what was built (not the data of `make dev`)
	cargo clean
