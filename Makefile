# The verbs of multical. `make` alone prints them.
PYTHON ?= python3.11
CORES  ?= 2
LOCK   := envs/requirements.lock
BIN    := .venv/bin
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

.PHONY: help env lock demo smoke test format clean
help:                ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*##/ {printf "make %-8s %s\n", $$1, $$2}' Makefile

env: .venv/lock      ## create or reuse .venv, the one pinned environment

# Made without ensurepip, which Debian's python3.11 lacks; the pip of $(PYTHON) fills it.
.venv/lock: $(LOCK)
	cmp -s $(LOCK) $@ || { $(PYTHON) -m venv --clear --without-pip .venv && \
	$(PYTHON) -m pip --python $(BIN)/python install --progress-bar off --requirement $(LOCK); }
	cp $(LOCK) $@

lock:                ## resolve envs/requirements.in into the lock anew
	$(PYTHON) -m venv --clear --without-pip .venv.lock
	$(PYTHON) -m pip --python .venv.lock/bin/python install --quiet --requirement envs/requirements.in
	(sed -n '/^#/p' $(LOCK); $(PYTHON) -m pip --python .venv.lock/bin/python freeze --all | sed 's/+cpu$$//') > $(LOCK).tmp
	mv $(LOCK).tmp $(LOCK); rm -r .venv.lock
