# The one owner of every command: a developer, CI and the README run these and nothing else.
# Needs a Python (3.11 or newer), a Rust toolchain and a C compiler; fetches the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The newest Python that works here, as pip and the matrix see it; `make PYTHON=… build` overrides.
PYTHON ?= $(shell sh tests/pythons.sh | tail -1 | cut -d' ' -f2)
# The Djangos that are tested, oldest first: each supported series in its newest release.
DJANGOS ?= 5.2.19 6.0.10 6.1.3
# Releases whose keys have other recipes; only their keys are compared.
OLDER_DJANGOS ?= 5.2.18 6.0.9 6.1 6.1.2
# Extra words for pytest: `make pytest ARGS='-k expiry -x'`.
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
DONE := .build/done
MATRIX = $(BIN)/python tests/parity/matrix.py

# What the extension is made of, and what the wheel adds to it.
RUST := Cargo.toml Cargo.lock $(shell find src -name '*.rs' 2>/dev/null)
PACKAGE := README.md $(shell find python -type f -not -name '*.so' -not -path '*/__pycache__/*' 2>/dev/null)

# cargo test links libpython: the venv's own.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# -- For people --------------------------------------------------------------------------------

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

.PHONY: demo
demo: build ## Save a post on the example blog and see every cached page of it fresh
	@$(BIN)/python examples/blog/demo.py

# Half of what there is to do, with the matrix.
BESIDE := $(foreach name,blog interleavings property,tests/queries/test_$(name).py)

.PHONY: test
test: ## Everything that CI runs: lints, docs, Rust, Python, every Django
# The Rust tests are compiled beside the package.
	@$(MAKE) -j2 --output-sync=target servers check docs cargo-test $(DONE)/wheel
# The tests wait for servers as much as they compute, so the matrix and a part of them run beside the rest; what
# those print follows.
	@{ $(MAKE) matrix && $(MAKE) pytest ARGS='$(BESIDE)'; } > .build/beside.log 2>&1 & beside=$$!; \
	$(MAKE) pytest ARGS='$(BESIDE:%=--ignore=%)' || failed=1; \
	wait $$beside || failed=1; \
	cat .build/beside.log; \
	test -z "$${failed:-}"
	@echo "make test: all passed"

.PHONY: check
check: build ## Lints and types only, nothing is run
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy python/viewcache
	$(BIN)/python -m mypy.stubtest viewcache._core $(if $(wildcard tests/stubtest.txt),--allowlist tests/stubtest.txt)
	$(BIN)/lint-imports --no-logo

.PHONY: build
build: $(DONE)/develop ## The virtual environment .venv with the package in it, editable

.PHONY: cargo-test
cargo-test: $(DONE)/venv ## The Rust tests
	LD_LIBRARY_PATH="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))'):$${LD_LIBRARY_PATH:-}" cargo test

.PHONY: pytest
pytest: build servers ## The Python tests in .venv: make pytest ARGS='-k expiry'
	$(BIN)/python -m pytest $(ARGS)

.PHONY: track-steps
track-steps: build servers ## Look for old pages after each of 100,000 random commits, by every road
	VIEWCACHE_STEPS=$${VIEWCACHE_STEPS:-100000} $(BIN)/python -m pytest -s -k no_page_is_old_after_any_commit tests/queries/test_property.py

.PHONY: fuzz
fuzz: $(DONE)/venv ## Fuzz what reads bytes, SECONDS_EACH=60; needs `cargo install cargo-fuzz`
	for target in record cookie query cache_control vary path; do \
	    mkdir -p fuzz/corpus/$$target && \
	    LD_LIBRARY_PATH="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))'):$${LD_LIBRARY_PATH:-}" \
	        RUSTC_BOOTSTRAP=1 cargo fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	        -max_total_time=$${SECONDS_EACH:-60} -max_len=4096 || exit 1; \
	done

.PHONY: storm
storm: build servers ## A million random steps of four processes on Redis, and on Memcached: SEED=… replays
	for server in redis memcached; do \
	    PYTHONPATH=tests PYTHONHASHSEED=0 $(BIN)/python -m storm --server $$server \
	        --steps $${STEPS:-1000000} $${SEED:+--seed $$SEED} || exit 1; \
	done

.PHONY: soak
soak: build servers ## The example blog under gunicorn and uvicorn, MINUTES=10, on Redis, then on Memcached
	for server in $${SERVERS:-redis memcached}; do \
	    PYTHONPATH=tests $(BIN)/python -m soak --server $$server --minutes $${MINUTES:-10} || exit 1; \
	done

.PHONY: coverage
coverage: build servers ## Branches of the Python package that the tests take: make coverage ARGS=tests/django
	$(BIN)/python -m pip install --quiet 'coverage>=7.10'
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

.PHONY: coverage-rust
coverage-rust: $(DONE)/venv ## Lines of src/ that the Rust tests take; needs `cargo install cargo-llvm-cov`
	LD_LIBRARY_PATH="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))'):$${LD_LIBRARY_PATH:-}" \
	    cargo llvm-cov --lib --test hostile --ignore-filename-regex 'src/python/|fuzz/' --summary-only

.PHONY: mutants
mutants: $(DONE)/venv ## Which changes of keys, records and freshness no Rust test sees; needs `cargo install cargo-mutants`
	LD_LIBRARY_PATH="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))'):$${LD_LIBRARY_PATH:-}" \
	    cargo mutants --timeout 60 $(foreach name,signer key record generation guard lookup/judge lookup/scopes,-f src/$(name).rs) -- --lib -- --skip sql::

# What looks at keys, scopes, expiries and leases.
MUTANT_TESTS := tests/property/test_keys.py tests/property/test_uri.py tests/django tests/bulk tests/stampede tests/slots \
    tests/reads/test_audit.py tests/reads/test_pages.py tests/early tests/surfaces tests/queries/test_depends.py \
    tests/queries/test_statements.py tests/queries/test_history.py \
    $(foreach name,outbox settle tasks,tests/durable/test_$(name).py)

.PHONY: mutants-python
mutants-python: build servers ## The same of the Python package: make mutants-python ARGS='viewcache.scopes*'
# In a tree and an environment of its own, where the package is not the one that is installed here.
	rm -rf .build/mutants && mkdir -p .build/mutants/src
	cp -r python/viewcache .build/mutants/src && cp -r tests examples docs README.md pyproject.toml .build/mutants
	cp tests/mutmut.cfg .build/mutants/setup.cfg
	$(BIN)/python -m venv .build/mutants/.venv
	.build/mutants/.venv/bin/python -m pip install --quiet 'mutmut>=3.8,<4'
	packages="import sysconfig; print(sysconfig.get_path('purelib'))"; \
	    $(BIN)/python -c "$$packages" > "$$(.build/mutants/.venv/bin/python -c "$$packages")/tests.pth"
	cd .build/mutants && .venv/bin/python tests/mutants.py
	cd .build/mutants/mutants && PYTHONPATH=src:tests MUTANTS='$(ARGS)' \
	    ../.venv/bin/python -m pytest -p mutants -q -W ignore -p no:cacheprovider $(MUTANT_TESTS)

.PHONY: deny
deny: ## Licences, sources and versions of the Rust dependencies; needs `cargo install cargo-deny`
	cargo deny --locked check licenses bans sources

.PHONY: matrix
matrix: parity ## The other Djangos (oldest and newest Python of each): parity, then the Python tests
	$(MATRIX) pytest --djangos $(DJANGOS)

.PHONY: parity
parity: $(DONE)/wheel ## Django's own cache tests, and its keys, in each Django
	$(MATRIX) parity --djangos $(DJANGOS) --older $(OLDER_DJANGOS)

.PHONY: servers
servers: ## Install redis-server, memcached, postgresql, mariadb-server, chromium and valgrind where they are missing
	@sh tests/servers.sh

.PHONY: fmt
fmt: $(DONE)/venv ## Format Rust and Python
	cargo fmt
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(DONE)/bench ## Ratios against stock Django: make bench ARGS=--quick
	@sh tests/servers.sh wrk
	$(BIN)/python benches/run.py $(ARGS)

.PHONY: bench-core
bench-core: $(DONE)/venv ## Times of the Rust core: make bench-core ARGS=--quick
	LD_LIBRARY_PATH="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))'):$${LD_LIBRARY_PATH:-}" \
	    cargo bench --bench core -- $(ARGS)

.PHONY: docs
docs: build $(DONE)/docs ## The documentation, docs/_build/index.html, and the Rust one; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

.PHONY: sdist
sdist: $(DONE)/venv ## The source distribution, installed into an empty environment and tried
	rm -rf dist/*.tar.gz .build/sdist
	$(BIN)/maturin sdist --out dist
	$(BIN)/python -m venv .build/sdist
	CARGO_TARGET_DIR=$(CURDIR)/target .build/sdist/bin/python -m pip install --quiet dist/*.tar.gz
	.build/sdist/bin/python tests/smoke.py

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(VENV) .build dist target python/viewcache/*.so
	find . -name __pycache__ -prune -exec rm -rf {} +

# -- Files: a second run does only what a change asks for -------------------------------------------

$(DONE)/venv: pyproject.toml tests/pythons.sh
	@[ -n "$(PYTHON)" ] || { echo "no Python from 3.11 on that has venv and ensurepip was found" >&2; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
# --group is pip 25.1's.
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group test --group backends --group lint 'maturin>=1.16,<2' \
	    "django==$$($(BIN)/python tests/parity/matrix.py newest --djangos $(DJANGOS))"
	@mkdir -p $(@D) && touch $@

$(DONE)/docs: $(DONE)/develop
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

$(DONE)/develop: $(DONE)/venv $(RUST)
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --quiet
	@touch $@

$(DONE)/bench: $(DONE)/develop
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

$(DONE)/wheel: $(DONE)/develop $(PACKAGE)
	rm -f dist/*.whl
	$(BIN)/maturin build --release --quiet --out dist --interpreter $(BIN)/python
	@touch $@
