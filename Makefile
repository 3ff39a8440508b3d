# The commands of a developer; pipelines run the same ones. `make help` lists them.
#
# Cargo compiles a crate once for each set of features, and the set depends on the packages and targets that a command
# selects. Commands that share a profile therefore select the whole workspace, and narrow it down by target.

# Recorded days, the independent judge and the schemas of custom resources lie beside the clone. Only test-recorded,
# bench and check-deploy read them.
SHARED ?= ../shared
# The part of the names of the end-to-end tests that `make e2e` runs, like TEST=orders.
TEST ?=
# The seed and the minutes of the random part of `make faults`; without a seed it draws one and prints it. ONLY=text walks
# only the faults of the list whose descriptions contain the text.
SEED ?=
MINUTES ?= 10
ONLY ?=
# How many connections `make disconnects` cuts, and the ticks of a second meanwhile; it fails where fewer are published.
DISCONNECTS ?= 1000
EVENTS_PER_SECOND ?= 500
# What builds and tests the program with its optional parts, the archive and the Kafka bridge.
COMPLETE := --workspace --features tickbell/export,tickbell/kafka,e2e/complete
BUILD_COMPLETE := cargo build --locked $(COMPLETE) --bin tickbell --test archive --test kafka
# The tests that `cargo test` does not run (test = false). --all-targets leaves them out, and ignores --test beside it.
APART := captures faults recorded rollout
BUILD := cargo build --release --locked -p tickbell
PYTHON := .tools/python/bin

# Tests of whole systems wait most of the time, so more of them run at once than there are cores.
export RUST_TEST_THREADS ?= $(shell expr $$(nproc) + 2)

.DEFAULT_GOAL := run
.PHONY: help run test unit integration e2e faults faults-short disconnects feed-schedules check fmt schemas monitoring check-complete test-archive test-kafka test-recorded test-compat test-previous check-deploy \
        check-cluster bench bench-kafka dashboard test-dashboard lint-dashboard unit-dashboard browser-dashboard deploy-dashboard \
        tools tools-test tools-archive tools-kafka tools-compat tools-deploy image sbom deny deploy promote rollback \
        site-deploy site-promote site-rollback smoke operate backup restore

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: tools ## run everything on this machine, with prices from the simulator
	$(BUILD)
	exec target/release/tickbell up

test: check integration faults-short ## check and test everything that needs nothing outside the clone

unit: ## run the tests that start no servers
	cargo test --locked --workspace --lib --bins
	cargo test --locked --workspace --exclude e2e --exclude store --test '*'
	cargo test --locked --workspace --test architecture

integration: tools-test ## run all tests: unit tests, the store on PostgreSQL, and end-to-end tests on real servers
	cargo build --locked --workspace --bins --tests
	cargo test --locked --workspace

e2e: tools-test ## run the end-to-end tests whose names contain TEST, like TEST=orders, and keep their folders
	cargo build --locked --workspace --bin tickbell --test e2e
	TICKBELL_TEST_KEEP=1 cargo test --locked --workspace --test e2e -- --nocapture $(TEST)

faults: tools-test ## inject faults into two of every service: the whole list, then random ones for MINUTES by SEED
	cargo build --locked --workspace --bin tickbell --test faults
	cargo test --locked --workspace --test faults -- --seed "$(SEED)" --minutes "$(MINUTES)" --only "$(ONLY)"

faults-short: tools-test ## inject a few faults, for a minute and a half
	cargo build --locked --workspace --bin tickbell --test faults
	cargo test --locked --workspace --test faults -- --short

disconnects: tools-test ## cut 1,000 connections of live streams at random bytes, at 500 ticks/s, and count what is lost: 0
	$(BUILD)
	cargo build --locked --workspace --test e2e
	TICKBELL_TEST_DISCONNECTS=$(DISCONNECTS) TICKBELL_TEST_EVENTS_PER_SECOND=$(EVENTS_PER_SECOND) \
	  cargo test --locked --workspace --test e2e -- --nocapture disconnects::

feed-schedules: ## follow an exchange under 500 random fault schedules, or SCHEDULES of them, from SEED on; SEED alone runs one
	SCHEDULES="$(or $(SCHEDULES),$(if $(SEED),1,500))" $(if $(SEED),SEED="$(SEED)") cargo test --locked -p price-ingestor --test feed -- --nocapture

check: ## check format and lints; warnings are errors
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace $(addprefix --test ,$(APART)) --locked -- -D warnings

fmt: ## format the Rust code
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml

schemas: tools-test ## regenerate the committed files that derive from code: schemas, OpenAPI, settings, streams
	cargo build --locked --workspace --bin tickbell --test published --test store
	UPDATE=1 cargo test --locked --workspace --test published
	UPDATE=1 cargo test --locked --workspace --test store schema
	target/debug/tickbell streams export --format nack > k8s/streams/streams.yaml

monitoring: tools-deploy ## regenerate the dashboards of Grafana and the alert rules of Kubernetes
	$(PYTHON)/python infra/monitoring/grafana/generate.py
	UPDATE=1 $(PYTHON)/pytest -q infra/checks/kubernetes/test_kubernetes_program.py -k rules

dashboard: ## build the dashboard into services/dashboard/dist, which is committed
	infra/local/tools dashboard
	npm run --silent --prefix services/dashboard build

test-dashboard: lint-dashboard unit-dashboard browser-dashboard ## check and test the dashboard, also in a real browser

lint-dashboard: ## check format, lints and types of the dashboard
	infra/local/tools dashboard
	npm run --silent --prefix services/dashboard lint

unit-dashboard: ## run the unit tests of the dashboard; check that dist is fresh, and its size
	infra/local/tools dashboard
	npm run --silent --prefix services/dashboard unit
	infra/scripts/dashboard fresh
	npm run --silent --prefix services/dashboard size

browser-dashboard: ## test the dashboard in Chromium against a whole system
	infra/local/tools browser
	cargo build --locked --workspace --bin tickbell
	npm run --silent --prefix services/dashboard browser

check-complete: ## check lints of the program with its optional parts, which the -kafka image has
	cargo clippy --locked $(COMPLETE),benches/kafka --all-targets -- -D warnings

test-archive: tools-test tools-archive ## export a recorded day to a folder and to a real object store, and read it by pyarrow and DuckDB
	$(BUILD_COMPLETE)
	TICKBELL_SHARED=$(abspath $(SHARED)) cargo test --locked $(COMPLETE) --test archive -- --nocapture
	cargo test --locked $(COMPLETE) --lib -- parquet_part part_rows part_file archived looked_at_again

test-kafka: tools-test tools-kafka ## mirror to a real Kafka through rounds of faults: KAFKA_ROUNDS of them, chosen by KAFKA_SEED
	$(BUILD_COMPLETE)
	cargo test --locked $(COMPLETE) --lib -- kafka::
	cargo test --locked $(COMPLETE) --test kafka -- --nocapture

test-recorded: tools-test ## replay recorded days through the whole system, and compare with an independent judge
	$(BUILD)
	TICKBELL_SHARED=$(abspath $(SHARED)) cargo test --locked --workspace --test recorded --test captures
	$(SHARED)/checks/replay

test-compat: tools-compat ## run other people's clients, unmodified but for URLs: ccxt, cryptofeed, and what TradingView's datafeed does
	$(BUILD)
	.tools/compat/bin/pytest -q infra/checks/compat

test-previous: tools-test ## run the previous release's tests against this version's schema
	$(BUILD)
	infra/local/previous

check-deploy: tools-deploy ## check compose, images, Kubernetes, pipelines, monitoring, Terraform, the API by its document, and a rollout
	$(BUILD) --features export
	$(PYTHON)/ruff format --line-length 120 --check infra
	$(PYTHON)/ruff check infra
	TICKBELL_SHARED=$(abspath $(SHARED)) $(PYTHON)/pytest -q --numprocesses auto --dist loadgroup --ignore=infra/checks/compat infra/checks
	cargo test --locked --workspace --test rollout -- --nocapture

check-cluster: ## walk the runbook on a control plane of Kubernetes (its first build takes long); NATS_CHART=folder of the chart
	infra/local/tools deploy
	infra/local/cluster-tools
	$(PYTHON)/python infra/checks/cluster_check

bench: tools ## measure the rule engine, the pipeline beside a bare client, orders and reads beside bare SQL, and overload
	cargo build --profile dist --locked -p tickbell -p benches
	cargo bench --locked -p benches --bench rules
	cargo bench --locked -p benches --bench decode
	target/dist/flood --file $(SHARED)/data/spy-trades-2013-10-07.csv.gz
	target/dist/latency
	target/dist/settle
	target/dist/overload
	target/dist/fanout
	target/dist/reads

bench-kafka: tools-test tools-kafka ## measure the Kafka bridge beside a bare transactional producer, with a real Kafka
	cargo build --profile dist --locked -p tickbell -p benches --features tickbell/kafka,benches/kafka --bin tickbell --bin kafka
	target/dist/kafka --file $(SHARED)/data/spy-trades-2013-10-07.csv.gz

tools: ## install what a run needs and this machine lacks
	infra/local/tools run

tools-test: ## install what the tests need as well
	infra/local/tools test

tools-archive: ## install what test-archive needs as well
	infra/local/tools archive

tools-kafka: ## install what test-kafka needs as well
	infra/local/tools kafka

tools-compat: ## install the clients that test-compat runs
	infra/local/tools compat

tools-deploy: ## install what check-deploy needs as well
	infra/local/tools deploy

image: ## build the image of this commit
	infra/scripts/image

sbom: ## write the list of the program's components (SBOM)
	infra/scripts/sbom

deny: ## check licences, banned crates and advisories of dependencies
	infra/scripts/deny

deploy: ## deploy to ENV=staging or production: the schema, the idle colour, the consumers
	infra/scripts/deploy

promote: ## run the smoke test against the idle colour of ENV, and switch to it
	infra/scripts/promote

rollback: ## return ENV to the commit that ran before the last deployment
	infra/scripts/rollback

deploy-dashboard: ## release the dashboard of this commit to the bucket of ENV, and show it
	infra/scripts/dashboard deploy

site-deploy: ## let the program of this commit write the idle copy of the page of prices of ENV
	infra/scripts/site deploy

site-promote: ## check the idle copy of the page of prices of ENV, and make it live; back when a check fails
	infra/scripts/site promote

site-rollback: ## make the copy of the page of prices of ENV live again that was live before
	infra/scripts/site rollback

operate: ## run an operator's command in the cluster of ENV, like RUN="dlq list"
	infra/scripts/operate

smoke: ## test the API at URL from outside; SUBSCRIBE=address also creates and deletes an alert
	infra/scripts/smoke

backup: ## back up the whole database of `tickbell up`, of DATABASE_URL, or of compose with COMPOSE=1
	infra/scripts/backup

restore: ## restore FROM=file into a new database, migrate and verify it; SWITCH=1 replaces the old database by it (NEWER=1)
	infra/scripts/restore
