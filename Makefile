# Each command sets up what it needs, once: a stamp file in an environment says that it is ready.
#
# PYTHON  the interpreter the environments are made with (3.10 or later).
# TORCH   what is installed before everything else, so that no dependency chooses a torch of its own:
#         `make demo TORCH="torch>=2.4"` takes whatever the machine's own settings give.

PYTHON ?= python3
TORCH ?= torch==2.13.0
TRANSFORMERS_B ?= transformers>=5,<6
PYTEST_ARGS ?=
# A test process on each core, each with one thread: a tiny model gains nothing from more.
PYTEST_WORKERS ?= auto
PYTEST := bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile
PIP_ARGS ?= --no-input --disable-pip-version-check $(if $(CI),--quiet)

A := .venv
B := .venv-b
WHEEL := .venv-wheel
BENCH := $(A)/bin/python -m benchmarks
QUERIES := project/assets/snips/SearchScreeningEvent/validate_SearchScreeningEvent.json
PIP := bin/python -m pip

.PHONY: help demo bench docs test test-quick test-stack-a test-stack-b lint format wheel wheel-test extras-test clean distclean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo "make demo          train, evaluate and package the default project, then annotate three sentences"
	@echo "make bench         decoding, training and mapping beside their alternatives, on the shipped queries; under 10 minutes"
	@echo "make test          all checks: lint, wheel-test, and the suite on stack A and on stack B"
	@echo "make test-quick    the suite without the slow tests, on stack A"
	@echo "make test-stack-a  the whole suite with spacy-transformers and the transformers release it allows"
	@echo "make test-stack-b  what rests on transformers, with the newest transformers 5, without spacy-transformers"
	@echo "make lint          ruff, mypy and the contracts on imports"
	@echo "make format        rewrite the code as ruff wants it"
	@echo "make docs          the site, in docs/_build/html; a warning is an error"
	@echo "make wheel-test    build sdist and wheel, install the wheel elsewhere, train and reload a pipeline with it"
	@echo "make extras-test   each extra alone, and all together, in new environments on both stacks; half an hour"
	@echo "make clean         remove what building and checking made; make distclean: the environments too"

demo: $(A)/.ready
	$(A)/bin/python -m spacy project run all
	$(A)/bin/python project/demo.py

bench: $(A)/.ready
	$(BENCH).decoding --docs $(QUERIES) --model 8m --limit 20 --batch-size 1 16 --runs 2 --output bench/decoding.json
	$(BENCH).training --docs $(QUERIES) --model 8m --sample 40 --runs 1 --output bench/training.json
	$(BENCH).mapping --gold $(QUERIES) --output bench/mapping.json
	$(BENCH).scaling --short --output bench/scaling.json

test: lint wheel-test test-stack-a test-stack-b

test-quick: $(A)/.ready
	OMP_NUM_THREADS=1 $(A)/$(PYTEST) $(PYTEST_ARGS)

test-stack-a: $(A)/.ready
	@echo "== the suite on stack A: spacy-transformers and the transformers release it allows"
	OMP_NUM_THREADS=1 $(A)/$(PYTEST) -m "not gpu and not external" $(PYTEST_ARGS)

# What knows no transformers is tested on stack A alone (pages, words, files, the service, the cluster), and so is what
# spends minutes in processes of its own (one test of it, experts in float64, does not run with transformers 5).
A_ALONE := tests/docs tests/service tests/cluster tests/data tests/metrics tests/spans tests/prompts tests/benchmarks \
	tests/cli/test_annotate.py tests/cli/test_convert.py tests/cli/test_evaluate.py tests/cli/test_progress.py \
	tests/cli/test_serve.py tests/cli/test_train_together.py tests/training/test_devices.py \
	tests/training/test_sharding.py tests/pipeline/test_command_line.py tests/project/test_compare.py \
	tests/project/test_scripts.py
# Slow, and the same with any transformers.
A_ALONE_TESTS := tests/pipeline/test_windows.py::test_two_hundred_thousand_words \
	tests/cli/test_train.py::test_killed_again_and_again tests/engine/test_stream.py::test_memory_does_not_creep

test-stack-b: $(B)/.ready
	@echo "== what rests on transformers, on stack B: transformers 5, no spacy-transformers"
	OMP_NUM_THREADS=1 $(B)/$(PYTEST) -m "not gpu and not external" $(A_ALONE:%=--ignore=%) \
		$(A_ALONE_TESTS:%=--deselect=%) $(PYTEST_ARGS)

lint: $(A)/.ready
	$(A)/bin/ruff check .
	$(A)/bin/ruff format --check .
	$(A)/bin/mypy
	$(A)/bin/lint-imports

format: $(A)/.ready
	$(A)/bin/ruff check --fix .
	$(A)/bin/ruff format .

docs: $(A)/.ready
	$(A)/bin/python -m sphinx -W -n --keep-going -q -b html docs docs/_build/html

wheel: $(A)/.ready
	rm -rf build dist
	$(A)/bin/python -m build --outdir dist .
	$(A)/bin/python tests/e2e/check_wheel.py dist/*.whl

# The second install is for a wheel rebuilt under the same version, the first for its dependencies. The script runs
# isolated (-I) and from another folder, so the checkout cannot stand in for what the wheel lacks.
wheel-test: wheel $(WHEEL)/.ready
	$(WHEEL)/$(PIP) install $(PIP_ARGS) dist/*.whl
	$(WHEEL)/$(PIP) install $(PIP_ARGS) --no-deps --force-reinstall dist/*.whl
	$(WHEEL)/$(PIP) check
	cd "$$(mktemp -d)" && "$(CURDIR)/$(WHEEL)/bin/python" -I "$(CURDIR)/tests/e2e/smallest.py"

extras-test: wheel
	$(PYTHON) tests/e2e/extras.py dist/*.whl --torch "$(TORCH)"

$(A)/.ready: setup.py
	$(PYTHON) -m venv $(A)
	$(A)/$(PIP) install $(PIP_ARGS) "$(TORCH)"
	rm -rf spacy_padellm.egg-info
	$(A)/$(PIP) install $(PIP_ARGS) -e ".[spacy-transformers,dev]"
	$(A)/$(PIP) check
	touch $@

$(B)/.ready: setup.py
	$(PYTHON) -m venv $(B)
	$(B)/$(PIP) install $(PIP_ARGS) "$(TORCH)"
	rm -rf spacy_padellm.egg-info
	$(B)/$(PIP) install $(PIP_ARGS) -e ".[test]" "$(TRANSFORMERS_B)"
	$(B)/$(PIP) check
	touch $@

$(WHEEL)/.ready: setup.py
	rm -rf $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/$(PIP) install $(PIP_ARGS) "$(TORCH)"
	touch $@

clean:
	rm -rf build dist bench docs/_build docs/_reference *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find spacy_padellm tests benchmarks project -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(A) $(B) $(WHEEL)
