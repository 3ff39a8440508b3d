# The commands of a developer; pipelines call the same ones.

DATA ?= ../shared/data
CHECKS ?= ../shared/checks

.PHONY: run test test-recorded check tools tools-test fmt bench check-deploy

run: tools ## run everything on this machine
	cargo build --release --locked -p tickbell
	exec target/release/tickbell up

test: tools-test check ## all that needs nothing outside the clone
	cargo test --workspace --locked

check: ## format and lints, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
