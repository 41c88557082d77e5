# The short commands. meson.build does the work.
BUILD ?= build
MESON_ARGS ?=
.PHONY: all deps deps-test deps-bench deps-check build demo test unit interop crash check bench fuzz install clean

all: build

deps:
	@scripts/deps build
deps-test:
	@scripts/deps build tests
deps-bench:
	@scripts/deps build bench
deps-check:
	@scripts/deps build tests checks

$(BUILD)/build.ninja: | deps
	@meson setup $(BUILD) $(MESON_ARGS) >/dev/null || { cat $(BUILD)/meson-logs/meson-log.txt | tail -30; exit 1; }

build: deps $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

# Two servers on loopback, and letters between them.
demo: build
	@scripts/demo

# Everything: unit tests, corpora, real peers, faults. Ends with "N passed, N failed, N skipped".
test: deps-test build
	@scripts/test

# Parts of it, for the working day.
unit: build
	@scripts/test unit
interop: deps-test build
	@scripts/test interop faults

# The crash proof, long: make crash [MINUTES=10] [SEED=1] [CASE=kill,images,...]; see scripts/crash.
crash: deps-test build
	@MINUTES="$(MINUTES)" SEED="$(SEED)" CASE="$(CASE)" nice scripts/crash

# What a reviewer would look for first: see scripts/check.
check: deps-check build
	@scripts/check

# make bench [CASE=accept,deliver,relay,tls,idle,base] [PEER=postfix,openssl] [QUICK=1]: side by side
# with others. RECORD=1 writes bench/RESULTS.md and the chart of the README from it.
bench: deps-bench build
	@CASE="$(CASE)" PEER="$(PEER)" QUICK="$(QUICK)" REPS="$(REPS)" bench/$(if $(RECORD),record,run)

# make fuzz [TARGET=name] [SECONDS=60] [MERGE=1]: runs the fuzz targets with libFuzzer; MERGE=1 adds
# to the corpora what reaches new code.
fuzz: deps-check
	@scripts/fuzz "$(TARGET)" "$(SECONDS)"

install: build
	@meson install -C $(BUILD) --quiet

clean:
	rm -rf $(BUILD) build-*
