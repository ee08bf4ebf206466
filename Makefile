# The verbs of multical. `make` alone prints them. TARGET, STUDY and BUNDLE reach programs by the
# environment, where make puts what it is given, since the shell would read them in a recipe.
PYTHON ?= python3.11
# found before .venv is on the path: its own Python has no pip to fill it anew
override PYTHON := $(or $(shell command -v $(PYTHON)),$(PYTHON))
CORES  ?= 2
ITEMS  ?= smoothed_sft scoring paper_statistics startup
LOCK   := envs/requirements.lock
BIN    := .venv/bin
PYTEST := .venv/bin/python -m pytest
PYTHON_CODE := scripts tools tests benchmarks
export PATH := $(CURDIR)/$(BIN):$(PATH)
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) --resources trainings=1 --rerun-incomplete
# Bars of the run and its jobs instead of Snakemake's lines. What jobs print is in logs/, too.
FOLLOWED := PYTHONPATH=tools $(SNAKEMAKE) --logger study
REPORT = $(FOLLOWED) --report-stylesheet report/style.css --report

.PHONY: help env lock demo smoke lite msp_v2 report verify plan explain provenance fetch bundle unbundle export doctor submit stop recover test test-all test-smoke test-unit test-slow test-slurm test-faults bench canary gpu gpu-wheels check schema format clean
help:                ## print this list
	@awk -F ':.*## ' '/^[a-z_ 0-9-]+:.*##/ {printf "make %-18s %s\n", $$1, $$2}' Makefile

env: .venv/lock      ## create or reuse .venv, the one pinned environment; TORCH=cpu|cuda: with this torch

# Made without ensurepip, which Debian's python3.11 lacks; the pip of $(PYTHON) fills it. It is made
# anew for another lock, or if TORCH asks for another build of torch than is there.
OTHER := $(if $(TORCH),$(filter-out $(shell cat .venv/torch 2>/dev/null),$(TORCH)))
.PHONY: anew
.venv/lock: $(LOCK) $(if $(OTHER),anew)
	$(if $(OTHER),false,cmp -s $(LOCK) $@) || { $(PYTHON) -m venv --clear --without-pip .venv && \
	$(PYTHON) envs/choose.py .venv && $(PYTHON) -m pip --python $(BIN)/python install \
	--progress-bar off --require-hashes --requirement .venv/requirements.txt; }
	cp $(LOCK) $@

lock:                ## resolve envs/requirements.in into the lock anew
	$(PYTHON) envs/lock.py

# Nothing runs beside a training of the demo, which keeps it to 6 GB. Two threads change no weight.
demo: FOLLOWED += --set-threads train_sft=2
demo smoke lite: env ## make a study and its page: of packaged models, or lite on one GPU of 24 GB
	@$(FOLLOWED) -- results/$@/headline.txt results/$@/index.html >/dev/null
	@$(BIN)/python tools/show_finding.py --study results/$@

# The report cannot be a rule of Snakemake: it reports on a workflow that has run.
report: env          ## make STUDY=demo|... whole: its page, and Snakemake's report of all files
	$(if $(STUDY),,$(error report: which STUDY=demo|msp_v2|...?))
	@$(FOLLOWED) -- "$$ROOT/headline.txt" "$$ROOT/index.html" >/dev/null
	@$(REPORT) "$$ROOT/report.html" -- "$$ROOT/headline.txt" "$$ROOT/index.html"

msp_v2: env          ## make paper 2 from its released outputs, with its page, and compare with the published
	@$(FOLLOWED) -- msp_v2_verify results/msp_v2/index.html >/dev/null
	@$(BIN)/python tools/show_finding.py --study results/msp_v2

# STUDY is the root of a study, without or with its results/.
report verify fetch bundle export: export ROOT = $(if $(filter results results/%,$(STUDY)),$(STUDY),results/$(STUDY))
verify: env          ## do the claims hold in STUDY=demo|msp_v2|...? an error where a verdict is unexpected
	$(if $(STUDY),,$(error verify: which STUDY=demo|msp_v2|...?))
	@$(FOLLOWED) -- "$$ROOT/claims/verdicts.json" >/dev/null
	@$(BIN)/python tools/check_verdicts.py --verdicts "$$ROOT/claims/verdicts.json" --expected expected/claims.yaml

plan: env            ## what TARGET=... would run on SLURM, why, and its cost; runs nothing
	@$(BIN)/python tools/show_plan.py $${TARGET:+"$$TARGET"} $(ARGS)

explain: env         ## why TARGET=... would run again: each edit, and what follows from it
	@$(BIN)/python tools/show_reasons.py $(ARGS) $${TARGET:+-- "$$TARGET"}

provenance: env      ## all that TARGET=... was made from, and what is missing; ARGS="--crate FOLDER" for an RO-Crate
	@$(BIN)/python tools/show_provenance.py $(ARGS) $${TARGET:+"$$TARGET"}

fetch: env           ## all that STUDY=... needs from a network, and nothing else: the rest then runs without one
	$(if $(STUDY),,$(error fetch: which STUDY=demo|msp_v2|...?))
	@$(BIN)/python tools/fetch.py --study "$$ROOT" --cores $(CORES) $(ARGS)

bundle: env          ## one archive of STUDY=demo|msp_v2|... to keep or hand on; ARGS=--anonymous for review
	$(if $(STUDY),,$(error bundle: which STUDY=demo|msp_v2|...?))
	@$(BIN)/python tools/make_bundle.py --study "$$ROOT" $(ARGS)

unbundle: env        ## check BUNDLE=FILE and unpack it here; ARGS=--overwrite replaces other results
	@$(BIN)/python tools/unpack_bundle.py $(ARGS) $${BUNDLE:+"$$BUNDLE"}

export: env          ## records and metrics of STUDY=demo|... for Every Eval Ever and lm-eval; ARGS="--share NAME"
	$(if $(STUDY),,$(error export: which STUDY=demo|lite|...?))
	@$(BIN)/python tools/export_results.py --study "$$ROOT" $(ARGS)

doctor: env          ## is all ready for STUDY=results/... on SLURM? warnings and errors with cures
	@$(BIN)/python tools/doctor.py $${STUDY:+--study "$$STUDY"} $(ARGS)

submit: env          ## TARGET=... on SLURM, with Snakemake as a job of its own; ARGS="--time 2-0 --mem 8000"
	$(if $(TARGET),,$(error submit: which TARGET=results/demo/headline.txt|...?))
	@$(BIN)/python tools/submit.py $(ARGS) $${TARGET:+-- "$$TARGET"}

stop: env            ## end the job of make submit, and cancel its jobs
	@$(BIN)/python tools/stop.py

recover: env         ## go on after a killed Snakemake; ARGS=--cancel cancels its jobs
	@$(BIN)/python tools/recover.py $(ARGS)

# Two at once: most leave a core idle some of the time.
test: env            ## check, and all tests that are not slow; a smoke study, its report and bundle
	$(MAKE) --no-print-directory --jobs=2 test-smoke check test-unit

test-all: env        ## test, then other studies, reruns, the browser, make gpu; and SLURM (root)
	$(MAKE) --no-print-directory --jobs=2 test-faults test-smoke check test-unit test-slurm test-slow

# CI makes the smoke study once, here; tests work on copies of it. Files without tests of a mark are
# not imported, which would take longer than some of these tests.
MARKED = $(PYTEST) -m $1 $$(grep -rlF mark.$1 tests --include='*.py' --exclude-dir=.venv | sort)
test-smoke: smoke tests/.venv/lock
	$(call MARKED,smoke)

# One process more than cores, since some tests wait for other programs and for clocks.
test-unit: env tests/.venv/lock
	$(PYTEST) --numprocesses=$$(($(CORES) + 1)) -m "not smoke and not slow"

test-slow: smoke tests/.venv/lock
	$(call MARKED,slow) --numprocesses=$(CORES)

test-slurm: smoke test-faults ## a smoke study and every fault on a real SLURM cluster on this machine (root)
	$(PYTEST) tests/slurm/test_study.py

test-faults: env
	$(PYTEST) tests/slurm --ignore=tests/slurm/test_study.py

# Of what wants other versions than multical: the peers, and the validators of exports and crates.
# Of those the list is whole, and one declares a newer Python than its validator needs.
tests/.venv/lock: PIP_OPTIONS := --no-deps --ignore-requires-python
%/.venv/lock: %/requirements.txt | env
	$(PYTHON) -m venv --clear --without-pip $*/.venv
	$(PYTHON) -m pip --python $*/.venv/bin/python install --progress-bar off $(PIP_OPTIONS) --requirement $<
	cp $< $@

bench: benchmarks/.venv/lock ## speed against peers, into benchmarks/results.csv: an hour; ITEMS=verbs times the demo and the tests
	@$(FOLLOWED) -- results/inputs/models/gemma3-270m/manifest.json \
	  results/inputs/benchmarks/cldr-facts.parquet >/dev/null
	set -e; for item in $(ITEMS); do $(BIN)/python benchmarks/$$item.py $(ARGS); done

canary: env          ## try the newest release of each library: which one breaks what? ARGS="tests/unit/..." tries a part
	@$(BIN)/python tools/canary.py $(ARGS)

# Only a Python with torch and transformers: machines with a GPU may have nothing else to offer.
gpu:                 ## every check that needs a GPU, and speed on one: docs/gpu.md; without one, at tiny shapes
	$(or $(wildcard $(BIN)/python),python3) benchmarks/gpu.py $(ARGS)

gpu-wheels:          ## what make gpu needs on a machine without network, into benchmarks/wheels
	$(PYTHON) benchmarks/gpu_pack/fetch.py $(ARGS)

check: env           ## formatting, lint, layers and types
	$(BIN)/ruff format --check $(PYTHON_CODE)
	$(BIN)/ruff check $(PYTHON_CODE)
	$(BIN)/snakefmt --check Snakefile rules
	PYTHONPATH=scripts $(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy
	$(BIN)/snakemake --lint

schema: env          ## write the schemas that editors read, the config's keys, and the columns of data anew
	cd scripts && ../$(BIN)/python -m multical.config.schema > ../config.schema.json
	cd scripts && ../$(BIN)/python -m multical.claims.schema > ../claims.schema.json
	cd scripts && ../$(BIN)/python -m multical.config.keys > ../config/README.md
	cd scripts && ../$(BIN)/python -m multical.bundle.dictionary > ../docs/data.md

format: env          ## format everything
	$(BIN)/ruff format $(PYTHON_CODE)
	$(BIN)/ruff check --fix $(PYTHON_CODE)
	$(BIN)/snakefmt Snakefile rules

clean:               ## remove what the studies made, and what killed processes left; not the environment
	rm -rf .snakemake logs $(filter-out results/README.md,$(wildcard results/* results/.[!.]*)) .*.tmp config/.*.tmp
