# `make demo` and `make test` need only Python and a network: each makes the virtual environment it uses.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# What programs may import; the commands are in --help, and a GPU's kernels need one.
PUBLIC := dimtool dimtool.metrics dimtool.composer dimtool.model '!dimtool.*commands' '!dimtool.*kernels'
SOURCES := $(wildcard *.py) $(shell find composer model manifests pages storage -name '*.py' -o -path '*/templates/*' -o -name '*.css' -o -name '*.safetensors')
.PHONY: demo test lint check bench docs fuzz clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed  ## the whole way in minutes, without data: set, shards, training, scores; demo/index.html shows it
	$(BIN)/dimtool demo demo

test: $(VENV)/installed  ## the whole test suite, on up to four cores
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/installed  ## ruff and mypy, strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p dimtool

check: lint test

bench: $(VENV)/installed  ## speed and size beside the usual scripts, on procedural or real images
	$(BIN)/python benchmarks/build.py

docs: $(VENV)/installed  ## docs/api: every module's functions and classes, from their docstrings
	$(BIN)/python -m pdoc --docformat markdown --output-directory docs/api $(PUBLIC)

fuzz: $(VENV)/installed  ## 2,000 damaged and hostile files: no crash, no hang, no traceback; 15 minutes
	$(BIN)/python tests/fuzzing/fuzz.py

# A strict editable install links each file, so that type checkers see the package; a new file needs it again.
$(VENV)/installed: setup.cfg pyproject.toml constraints.txt $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		--config-settings editable_mode=strict -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo docs/api
