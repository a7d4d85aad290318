# Every target makes .venv and installs into it what the target needs, once per change of pyproject.toml.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
TESTS := $(RUN) pytest -n 2 --dist worksteal
WITHOUT_PYTORCH := --ignore=tests/nnlib/parity
NODES := 1,16,256,4096,40960
export PYTHONDONTWRITEBYTECODE :=  # compiled tests are kept: rewriting their asserts takes half the time to collect them

.PHONY: demo test test-fast learning parity lint style types layers validate bench clean help

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

demo: $(VENV)/.installed-demo  ## train handwritten digits on 1 to 40,960 nodes and draw the result
	$(RUN) taihusim train digits --nodes $(NODES) --out runs/demo
	$(RUN) taihusim infer digits --nodes $(NODES) --weights runs/demo/weights.npz --out runs/demo
	@test -f runs/demo/figure.png && echo "Figure: $(CURDIR)/runs/demo/figure.png"

test: $(VENV)/.installed-test  ## all tests but those that need PyTorch, train for minutes or take long beside measurements
	$(TESTS) $(WITHOUT_PYTORCH) -m "not learning and not parity and not (validation and slow)"

learning: $(VENV)/.installed-test  ## networks that learn, and linear ones that do not, on generated data
	$(TESTS) $(WITHOUT_PYTORCH) -m learning

test-fast: $(VENV)/.installed-test  ## the tests that take about a second or less each, without PyTorch
	$(TESTS) $(WITHOUT_PYTORCH) -m "not slow and not parity"

parity: $(VENV)/.installed-test $(VENV)/.installed-parity  ## comparisons with PyTorch
	$(TESTS) -m parity tests/nnlib/parity

lint: style types layers  ## style, types and the order of the packages

style: $(VENV)/.installed-lint
	$(RUN) ruff check .
	$(RUN) ruff format --check .

types: $(VENV)/.installed-lint
	$(RUN) mypy

layers: $(VENV)/.installed-lint
	$(VENV)/bin/lint-imports

validate: $(VENV)/.installed-test  ## predictions against published measurements
	$(RUN) taihusim validate
	$(RUN) pytest $(WITHOUT_PYTORCH) -m validation

bench: $(VENV)/.installed-test  ## time the simulator itself
	@for script in $(sort $(wildcard benchmarks/bench_*.py)); do \
		echo "== $$script"; $(VENV)/bin/python $$script || exit 1; \
	done

clean:  ## remove what tools leave behind; .venv and runs/ stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks build dist *.egg-info
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print | xargs rm -rf

$(VENV)/.installed-%: pyproject.toml
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
