# Every command of the project. Each sets up what it needs: system packages (scripts/system-packages),
# the virtual environment .venv from requirements/*.txt, the build in build/dev. A second run does
# only what has changed. `make help` lists the commands.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
HOURS := 1
SECONDS := 60
BUILD := build/dev
SOURCES_CC = $$(git ls-files --cached --others --exclude-standard '*.cc' '*.h')

.PHONY: help setup build test test-cpp test-python check format format-check lint types stub \
        stub-check layers examples demo bench compare bench-cpp \
        bench-cpp-check test-install test-rustybt test-vendors test-network test-bars \
        test-universes torture-ci torture torture-sample torture-build mutants sanitize fuzz \
        wheel clean

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup:  ## System packages, .venv and the pinned packages of the tests
	@scripts/setup test demo

build: setup  ## Build the library, the Python module (in place) and the C++ tests
	@scripts/build

test: test-cpp test-python  ## All tests, C++ and Python

test-cpp: build  ## The C++ tests
	@scripts/step "C++ tests"
	@ctest --test-dir $(BUILD) --output-on-failure --progress -j$$(nproc)

test-python: build  ## The Python tests
	@scripts/step "Python tests"
	@$(PYTHON) -m pytest tests/python

check: build  ## Formatters, linters, types, stub, layers, examples
	@scripts/setup check
	@$(MAKE) --keep-going format-check lint types stub-check layers examples
	@scripts/step "make check: all passed"

format-check:
	@scripts/step "clang-format, ruff"
	@status=0; \
	.venv/bin/clang-format --dry-run -Werror $(SOURCES_CC) || status=1; \
	.venv/bin/ruff format --check --quiet . || status=1; \
	.venv/bin/ruff check --quiet . || status=1; \
	exit $$status

lint:
	@scripts/step "clang-tidy"
	@scripts/clang-tidy $(BUILD)

types:
	@scripts/step "mypy --strict"
	@.venv/bin/mypy

stub-check:
	@scripts/step "python/barcache/_core.pyi is what the module says"
	@scripts/stub --check

layers:
	@scripts/step "layers"
	@$(PYTHON) -m pytest -q tests/python/test_layers.py

examples:
	@scripts/step "examples in docstrings"
	@$(PYTHON) -m pytest --doctest-modules python/barcache

format: setup  ## Format C++ and Python in place
	@scripts/setup check
	@.venv/bin/clang-format -i $(SOURCES_CC)
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

stub: build  ## Write python/barcache/_core.pyi anew from the built module
	@scripts/stub

demo: build  ## The guide's examples and a walk-forward run on real bars
	@$(PYTHON) examples/demo.py

bench: build  ## Benchmarks against the peers, side by side in one run
	@scripts/setup bench
	@$(PYTHON) -m benchmarks.run

compare: build  ## The same requests through barcache, yfinance-cache and RustyBT; writes docs
	@scripts/compare --write

bench-cpp: build  ## The rooms one by one (Google Benchmark); FILTER=Codec for one of them
	@scripts/bench-cpp measure "$(FILTER)"

bench-cpp-check: build  ## Builds the C++ benchmarks and runs each once
	@scripts/bench-cpp check "$(FILTER)"

test-install: setup  ## pip install ., the wheel and find_package, each into a bare place
	@scripts/test-install

test-rustybt: setup  ## Tests against the real rustybt, in a venv of its own (Python 3.12)
	@scripts/test-rustybt

test-vendors: build  ## The sources yfinance and ccxt as they are installed, against local servers
	@scripts/setup vendors
	@$(PYTHON) -m pytest tests/python/test_sources_vendors_http.py tests/python/test_compare.py

test-network: build  ## The same sources against the real vendors, over the network
	@scripts/setup vendors
	@$(PYTHON) -m pytest -m network tests/python

test-bars: build  ## 2000 random sequences of requests for bars, against an oracle
	@BARCACHE_BAR_SEQUENCES=2000 $(PYTHON) -m pytest -q -o faulthandler_timeout=3600 \
		tests/python/test_bars_oracle.py

test-universes: build  ## Random requests for the real bars and for large universes; writes docs
	@$(PYTHON) -m benchmarks.universes --write

torture-build: setup
	@scripts/build-torture

torture-ci: torture-build  ## Kills, bit rot, power cuts, failing calls, storms; writes docs/reliability.md
	@$(PYTHON) -m tests.torture.run ci --write

torture: torture-build  ## The same for HOURS=n, with new seeds
	@$(PYTHON) -m tests.torture.run hours --hours $(HOURS)

torture-sample: torture-build  ## A sample of each part, within three minutes
	@$(PYTHON) -m tests.torture.run sample

sanitize: setup  ## C++ tests under ASan and UBSan, then under TSan
	@scripts/sanitize

fuzz: setup  ## libFuzzer on the Parquet reader, the catalog and keys, for SECONDS=n
	@scripts/fuzz $(SECONDS)

mutants: torture-build  ## The tests are tested: each step left out in turn has to be noticed
	@$(PYTHON) -m tests.torture.mutants

wheel: setup  ## Build a wheel into dist/
	@scripts/wheel dist

clean:  ## Remove what was built (not .venv)
	rm -rf build dist .setup python/barcache/_core.*.so
