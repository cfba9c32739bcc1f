# Everything a developer does, by name. `make demo` and `make test` work in a fresh clone; a second run is quick,
# because each installation leaves a stamp that is only older than what it was made from when there is work to do.

PYTHON ?= python3.11
BIN := .venv/bin
CLIENTS := tests/clients/node_modules/.installed
PEERS := benchmarks/peers/.venv/.installed
BUNDLE := examples/app/web/vendor/convex.js
export ONCE FILE
SUITE_SEED := $(shell od -An -N4 -tu4 /dev/urandom)

.PHONY: demo test lint format bench peers soak page chromium clean

## Run the reading room: a document goes through its workflow while you watch. ONCE=1 stops when it is done, FILE=path reads yours.
demo: $(BIN)/.installed page
	$(BIN)/python examples/demo.py

## Style, types and every test, the official clients and a browser included. What fails runs once more with the machine to
## itself and the same seeds: what fails again is broken, and what does not is listed as unsteady, which wants mending too.
test: export SUITE_SEED := $(SUITE_SEED)
test: lint $(CLIENTS) page chromium
	$(BIN)/python -m pytest -n auto -m "not slow" || \
		{ echo "Once more, alone:"; $(BIN)/python -m pytest -m "not slow" --last-failed --last-failed-no-failures none && \
		echo "UNSTEADY: what is listed as failed above failed beside other tests and passed alone."; }

lint: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(BIN)/.installed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

## One table: convexpy beside the raw parts it is made of, measured in the same run.
bench: $(BIN)/.installed
	$(BIN)/python -m benchmarks

## What `python -m benchmarks backend_peers workflow_peers` measures beside ours, in an environment of its own.
peers: $(PEERS)

## Kill the server again and again while workflows run. SOAK_SECONDS=600 for longer.
soak: $(BIN)/.installed
	$(BIN)/python -m pytest -m slow --timeout 7200 -s

$(BIN)/.installed: pyproject.toml components/workflow/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,bench]' -e components/workflow
	touch $@

$(PEERS): benchmarks/peers/requirements.txt benchmarks/peers/package.json
	test -x benchmarks/peers/.venv/bin/python || $(PYTHON) -m venv benchmarks/peers/.venv
	benchmarks/peers/.venv/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	cd benchmarks/peers && npm install --no-audit --no-fund --no-package-lock --ignore-scripts
	touch $@

$(CLIENTS): tests/clients/package.json tests/clients/package-lock.json
	cd tests/clients && npm ci --no-audit --no-fund --ignore-scripts
	touch $@

# The demo's page is a web page: without npm it lacks its client, and the terminal shows everything all the same.
page:
	@if command -v npm >/dev/null; then $(MAKE) --silent $(BUNDLE); \
	else echo "npm is not installed, so the page will be without the browser client; the terminal demo does not need it."; fi

$(BUNDLE): $(CLIENTS)
	mkdir -p $(@D)
	cp tests/clients/node_modules/convex/dist/browser.bundle.js $@
	touch $@

chromium:
	@if command -v chromium >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	else echo "The browser tests need chromium; install it as root: apt-get install chromium" >&2; exit 1; fi

clean:
	rm -rf .venv tests/clients/node_modules examples/app/web/vendor examples/app/.convexpy
