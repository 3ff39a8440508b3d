# The commands of a developer; pipelines call the same ones.

# Recorded days and the outside judge lie beside the clone. Only test-recorded and bench read them.
SHARED ?= ../shared

.PHONY: run test test-recorded check tools tools-test bench

run: tools ## everything on this machine, with prices from the simulator
	cargo build --release --locked -p tickbell
	exec target/release/tickbell up

test: tools-test check ## all that needs nothing outside the clone
	cargo build --locked -p tickbell
	cargo test --workspace --locked

check: ## format and lints; warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

test-recorded: tools-test ## recorded days through the whole system, compared with an independent judge
	cargo build --release --locked -p tickbell
	TICKBELL_SHARED=$(abspath $(SHARED)) cargo test --locked -p journeys --features recorded --test recorded
	$(SHARED)/checks/replay

bench: tools ## what a tick costs the rule book, and the whole pipeline beside the bare client
	cargo build --release --locked -p tickbell -p benches
	cargo bench --locked -p benches --bench book
	target/release/flood --file $(SHARED)/data/spy-trades-2013-10-07.csv.gz

tools: ## what a run needs and this machine lacks
	infra/local/tools run

tools-test: ## what the tests need besides
	infra/local/tools test
