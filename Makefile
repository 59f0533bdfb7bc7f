# `make demo` and `make test` set everything up themselves; nothing else needs to be run first.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow lint format bench docs clean

# One environment, pinned by constraints.txt; remade whenever the pins or the dependencies change.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The bundled models that fold the demo's protein and are compared with its known structure.
DEMO_MODELS := $(sort $(filter alphafold%,$(basename $(notdir $(wildcard src/anfinsen/weights/bundled/*.safetensors)))))

demo: $(STAMP)
	$(BIN)/anfinsen predict examples/demo.yaml --out demo-output --samples 2 --seeds 1 --overwrite
	set -e; for model in $(DEMO_MODELS); do \
	  $(BIN)/anfinsen predict examples/2aee_A.yaml --model $$model --out demo-output/$$model --samples 2 --seeds 1 \
	    --overwrite; \
	done
	$(BIN)/anfinsen evaluate $(foreach model,$(DEMO_MODELS),--model $(model)=demo-output/$(model)) examples/2aee_A.pdb \
	  --out demo-output/comparison --overwrite

# A file's tests stay together: they share what is slow to make.
test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python benchmarks/pairformer.py
	$(BIN)/python benchmarks/diffusion_step.py
	$(BIN)/python benchmarks/evoformer.py

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site demo-output
