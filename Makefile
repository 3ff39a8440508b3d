# The commands of a developer; pipelines call the same ones.

# Recorded days, the outside judge and the schemas of custom resources lie beside the clone. Only test-recorded, bench and
# check-deploy read them.
SHARED ?= ../shared

.PHONY: run test test-recorded test-previous unit check check-deploy bench fmt tools tools-test tools-deploy \
        image sbom deny deploy promote rollback smoke operate backup restore

run: tools ## everything on this machine, with prices from the simulator
	cargo build --release --locked -p tickbell
	exec target/release/tickbell up

test: tools-test check ## all that needs nothing outside the clone
	cargo build --locked -p tickbell
	cargo test --workspace --locked

unit: ## the tests that start no servers
	cargo test --workspace --lib --bins --locked

check: ## format and lints; warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt: ## formats
	cargo fmt --all

test-recorded: tools-test ## recorded days through the whole system, compared with an independent judge
	cargo build --release --locked -p tickbell
	TICKBELL_SHARED=$(abspath $(SHARED)) cargo test --locked --workspace --features e2e/recorded --test recorded
	$(SHARED)/checks/replay

test-previous: tools-test ## the previous release's tests against this version's schema
	cargo build --release --locked -p tickbell
	infra/pipelines/previous

check-deploy: tools-deploy ## compose, images, Kubernetes, pipelines, monitoring, Terraform; and a rollout under load
	cargo build --release --locked -p tickbell
	.tools/python/bin/ruff format --line-length 120 --check infra
	.tools/python/bin/ruff check infra
	TICKBELL_SHARED=$(abspath $(SHARED)) .tools/python/bin/pytest -q infra/checks
	cargo test --locked --workspace --features e2e/deploy --test rollout -- --nocapture

bench: tools ## what a tick costs the rule book, the whole pipeline beside the bare client, orders beside bare SQL
	cargo build --release --locked -p tickbell -p benches
	cargo bench --locked -p benches --bench book
	target/release/flood --file $(SHARED)/data/spy-trades-2013-10-07.csv.gz
	target/release/settle

tools: ## what a run needs and this machine lacks
	infra/local/tools run

tools-test: ## what the tests need besides
	infra/local/tools test

tools-deploy: ## what the checks of deployments need besides
	infra/local/tools deploy

image: ## the image of this commit
	infra/pipelines/image

sbom: ## what the program is made of
	infra/pipelines/sbom

deny: ## licences, banned crates, advisories
	infra/pipelines/deny

deploy: ## to ENV=staging or production: schema, idle colour, consumers
	infra/pipelines/deploy

promote: ## smoke-tests the idle colour of ENV, and switches to it
	infra/pipelines/promote

rollback: ## takes ENV back to what was active before
	infra/pipelines/rollback

operate: ## runs an operator's command in the cluster of ENV, like RUN="dlq list"
	infra/pipelines/operate

smoke: ## tries the API at URL from outside; SUBSCRIBE=address also makes and deletes a rule
	infra/pipelines/smoke

backup: ## the whole database into a file: that of `tickbell up`, of DATABASE_URL, or of compose with COMPOSE=1
	infra/pipelines/backup

restore: ## FROM=file into a new database, migrated and verified; SWITCH=1 puts it in the old one's place
	infra/pipelines/restore
