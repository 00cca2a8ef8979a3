# SPDX-License-Identifier: GPL-2.0-only
#
# Everything is built in two folders, $(VENV) and $(BUILD), but for the extension, which an editable
# install puts beside its Python sources. `make help` lists what there is to make.

PYTHON ?= python3
VENV   ?= .venv
BUILD  ?= build
DIST   ?= dist
# make bench: arguments of `kpkeys-bench compare`
ARGS   ?=
# make test: arguments of pytest
PYTEST_ARGS ?=
# A wheel to install and test instead of this tree
WHEEL  ?=
# make test WERROR= for a compiler with warnings of its own
WERROR ?= -Werror

# One compiler for the C tests and the extension; Python's may have been another one.
ifeq ($(origin CC),default)
CC := gcc
endif
export CC PYTHON

# As in the kernel: make V=1 shows commands
Q := $(if $(V),,@)

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help
help:
	@echo 'make bench         compare the allocators (ARGS="--ops 100000" and so on)'
	@echo 'make test          C tests and Python tests'
	@echo 'make benchmarks    pytest --benchmark-only'
	@echo 'make check-c       C tests: plain, then as make asan'
	@echo 'make asan          C tests under ASan and UBSan'
	@echo 'make valgrind      C tests under valgrind; make clang: built by another compiler'
	@echo 'make analyze       gcc -fanalyzer'
	@echo 'make coverage      lines and branches of the mirrors that C tests reach'
	@echo 'make fuzz          libFuzzer for FUZZ_SECONDS; fuzz-import: recordings; fuzz-script: scenarios'
	@echo 'make fuzz-corpus   what fuzzing has found so far, with any compiler'
	@echo 'make lint          format and lint checks, types'
	@echo 'make format        let the formatters rewrite Python and C'
	@echo 'make wheel         sdist and abi3 wheel, into $(DIST)/'
	@echo 'make clean         remove what was built; distclean: $(VENV)/ too'

# --- Python environment ---------------------------------------------------------------------------

BIN    := $(VENV)/bin
STAMPS := $(VENV)/stamps
# Under make -j two of these must not meet in one environment.
PIP    := flock $(VENV)/lock $(BIN)/python -m pip --disable-pip-version-check -q install
# tools/prereq.sh writes it where it had to fetch Python.h.
HEADERS := $(VENV)/python-headers
WITH_HEADERS = if [ -e $(HEADERS)/cpath ]; then \
	export CPATH="$$(cat $(HEADERS)/cpath)$${CPATH:+:$$CPATH}"; fi;

# $(call requirements,<expression>): names in pyproject.toml, one a line
requirements = $(BIN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	print(*($(1)), sep="\n")'
RUNTIME := p["project"]["dependencies"]
extra = p["project"]["optional-dependencies"]["$(1)"]

EXTENSION_DEPS := pyproject.toml setup.py $(shell find csrc -name '*.[ch]' -o -name '*.py')

$(STAMPS)/venv:
	@tools/prereq.sh $(HEADERS)
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(@D) && touch $@

# The extras of pyproject.toml, each with the runtime dependencies
$(STAMPS)/extra-%: pyproject.toml | $(STAMPS)/venv
	@echo 'installing what kpkeys_bench[$*] needs into $(VENV)'
	$(Q)$(call requirements,$(RUNTIME) + $(call extra,$*)) >$(STAMPS)/$*.txt
	$(Q)$(PIP) -r $(STAMPS)/$*.txt
	@touch $@

# Editable, in this environment and not an isolated one: a change in csrc/ needs no network.
$(STAMPS)/editable: $(EXTENSION_DEPS) | $(STAMPS)/venv
	@echo 'building kpkeys_bench into $(VENV)'
	$(Q)$(call requirements,p["build-system"]["requires"] + $(RUNTIME)) >$(STAMPS)/build.txt
	$(Q)$(PIP) -r $(STAMPS)/build.txt
	$(Q)$(WITH_HEADERS) $(PIP) --no-build-isolation --no-deps -e .
	@touch $@

$(STAMPS)/wheel: $(WHEEL) | $(STAMPS)/venv
	@echo 'installing $(WHEEL) into $(VENV)'
	$(Q)$(PIP) --force-reinstall --no-deps $(WHEEL)
	$(Q)$(PIP) '$(WHEEL)[plot,test]'
	@touch $@

# $(call package,<extra>): what must be installed to run something
package = $(if $(WHEEL),$(STAMPS)/wheel,$(STAMPS)/editable $(STAMPS)/extra-$(1))

# PYTHONSAFEPATH: what is tested is what is installed, also by `python -m kpkeys_bench` in a test.
PYTEST = PATH="$(abspath $(BIN)):$$PATH" PYTHONSAFEPATH=1 $(if $(WHEEL),KPB_TEST_INSTALLED=1) \
	$(BIN)/pytest

.PHONY: bench test benchmarks
bench: $(call package,plot)
	$(BIN)/kpkeys-bench compare --plot compare.png $(ARGS)

test: test-c $(call package,test)
	$(Q)$(PYTEST) $(PYTEST_ARGS)

benchmarks: $(call package,bench)
	$(Q)$(PYTEST) --benchmark-only $(PYTEST_ARGS)

# --- C tests --------------------------------------------------------------------------------------
#
# Each tests/c/X_kunit.c is a program of its own, linked with everything in csrc/. Flavours differ in
# compiler options only: $(BUILD)/c/plain/, $(BUILD)/c/asan/.

# The same as in the extension; the other files are included by csrc/build_*.c.
CSRC   := $(shell sed -n 's/^ *"\(csrc\/.*\.c\)",$$/\1/p' csrc/ffi_build.py)
KUNIT  := $(wildcard tests/c/kunit.c)
SUITES := $(patsubst tests/c/%.c,%,$(wildcard tests/c/*_kunit.c))

KUNIT_CPPFLAGS := -D_GNU_SOURCE -Icsrc -Icsrc/include -Itests/c
KUNIT_CFLAGS   := -std=gnu11 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wundef
KUNIT_LDLIBS   := -lm -ldl

FLAGS_plain := -O2 -DKPB_DEBUG $(WERROR)
# -fno-wrapv: Python's own flags may have -fwrapv, which hides signed overflow from UBSan.
FLAGS_asan  := -O1 -DKPB_DEBUG -fno-omit-frame-pointer -fno-wrapv -fsanitize=address,undefined \
	-fno-sanitize-recover=all

# Another compiler, with what only it warns about.
CLANG       ?= clang
CC_clang    := $(CLANG)
FLAGS_clang := -O2 -DKPB_DEBUG $(WERROR)
# Without KPB_DEBUG: a check that must never fire is no branch that a test could take.
FLAGS_coverage := -O0 --coverage -fprofile-abs-path -DKPB_NO_DEBUG
CC_fuzz    := $(CLANG)
FLAGS_fuzz := -O1 -DKPB_DEBUG -fno-omit-frame-pointer -fno-wrapv \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

define flavour
CC_$(1) ?= $$(CC)
suites_$(1) := $$(SUITES:%=$$(BUILD)/c/$(1)/%)
sources_$(1) := $$(patsubst %.c,$$(BUILD)/c/$(1)/%.o,$$(CSRC))
objects_$(1) := $$(sources_$(1)) $$(patsubst %.c,$$(BUILD)/c/$(1)/%.o,$$(KUNIT))

$$(BUILD)/c/$(1)/%.o: %.c Makefile | $$(BUILD)/c/toolchain
	@mkdir -p $$(@D)
	@printf '  CC      %s\n' '$$@'
	$$(Q)$$(CC_$(1)) $$(KUNIT_CPPFLAGS) $$(KUNIT_CFLAGS) $$(FLAGS_$(1)) -MMD -MP -c -o $$@ $$<

$$(suites_$(1)): $$(BUILD)/c/$(1)/%: $$(BUILD)/c/$(1)/tests/c/%.o $$(objects_$(1))
	@printf '  LD      %s\n' '$$@'
	$$(Q)$$(CC_$(1)) $$(FLAGS_$(1)) -o $$@ $$^ $$(KUNIT_LDLIBS)

-include $$(objects_$(1):.o=.d) $$(SUITES:%=$$(BUILD)/c/$(1)/tests/c/%.d)
endef
$(foreach f,plain asan clang coverage fuzz,$(eval $(call flavour,$(f))))
.SECONDARY:

$(BUILD)/c/toolchain:
	@tools/prereq.sh -c
	@mkdir -p $(@D) && touch $@

# Length of the strings in tests/c/small_scope_kunit.c: 3 takes minutes, 0 a moment
SMALL_SCOPE ?=
export KPB_SMALL_SCOPE = $(SMALL_SCOPE)

.PHONY: test-c check-c asan clang valgrind analyze coverage fuzz fuzz-import fuzz-script fuzz-corpus
test-c: $(suites_plain)
	@tools/run_kunit.sh $^

asan: $(suites_asan)
	@tools/run_kunit.sh $^

check-c: test-c asan fuzz-corpus

clang: $(suites_clang)
	@tools/run_kunit.sh $^

# gcc's static analyser, on what is shipped
analyze: $(CSRC:%.c=$(BUILD)/c/analyze/%.o)
	@echo 'gcc -fanalyzer: $(words $^) units without a finding'

$(BUILD)/c/analyze/%.o: %.c Makefile | $(BUILD)/c/toolchain
	@mkdir -p $(@D)
	@printf '  ANALYZE %s\n' '$@'
	$(Q)$(CC) -D_GNU_SOURCE -Icsrc -Icsrc/include -std=gnu11 -O1 -fanalyzer -Werror -c -o $@ $<

# Lines and branches of the mirrors that the C tests reach, over all page sizes. A case that is left by
# longjmp may leave a branch that was taken less than never.
COVERED := --filter csrc/mm/ --filter csrc/arch/
coverage: $(suites_coverage) $(STAMPS)/extra-dev
	$(Q)find $(BUILD)/c/coverage -name '*.gcda' -delete
	@tools/run_kunit.sh $(suites_coverage)
	$(Q)$(BIN)/gcovr --root . $(COVERED) --merge-lines --merge-mode-functions merge-use-line-max \
		--gcov-ignore-parse-errors=negative_hits.warn_once_per_file --exclude-throw-branches --txt --txt-summary --print-summary \
		--fail-under-line 95 --fail-under-branch 95 $(COVERAGE_ARGS) $(BUILD)/c/coverage

# --- fuzzing --------------------------------------------------------------------------------------
#
# `make fuzz` runs libFuzzer (clang) on machines and operations for FUZZ_SECONDS; what it finds new
# goes to $(BUILD)/fuzz/ops. `make fuzz-corpus` runs what is on record, with any compiler.

FUZZ_SECONDS ?= 60
CORPUS := $(sort $(wildcard tests/fuzz/corpus/ops/*))
IMPORT_CORPUS := $(sort $(wildcard tests/fuzz/corpus/import/*))

$(BUILD)/fuzz/%_fuzz: $(BUILD)/c/fuzz/tests/fuzz/%_fuzz.o $(sources_fuzz)
	@mkdir -p $(@D)
	$(Q)$(CC_fuzz) $(FLAGS_fuzz) -fsanitize=fuzzer -o $@ $^ $(KUNIT_LDLIBS)

fuzz: $(BUILD)/fuzz/ops_fuzz
	@mkdir -p $(BUILD)/fuzz/ops
	$< -max_total_time=$(FUZZ_SECONDS) -max_len=1024 -len_control=0 -timeout=20 -print_final_stats=1 \
		-artifact_prefix=$(BUILD)/fuzz/ $(BUILD)/fuzz/ops tests/fuzz/corpus/ops

# The same on text that is imported as a recording; lines are longer than 1024 bytes.
fuzz-import: $(BUILD)/fuzz/import_fuzz
	@mkdir -p $(BUILD)/fuzz/import
	$< -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=20 -print_final_stats=1 \
		-dict=tests/fuzz/import.dict -artifact_prefix=$(BUILD)/fuzz/ $(BUILD)/fuzz/import \
		tests/fuzz/corpus/import

$(BUILD)/fuzz/%_replay: $(BUILD)/c/asan/tests/fuzz/%_fuzz.o $(BUILD)/c/asan/tests/fuzz/replay_main.o \
		$(sources_asan)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS_asan) -o $@ $^ $(KUNIT_LDLIBS)

# The same for scenario scripts, with atheris, which brings its own libFuzzer.
fuzz-script: $(STAMPS)/editable $(STAMPS)/extra-fuzz
	@mkdir -p $(BUILD)/fuzz/script
	$(BIN)/python tests/fuzz/script_fuzz.py -max_total_time=$(FUZZ_SECONDS) -max_len=2048 \
		-timeout=60 -dict=tests/fuzz/script.dict -artifact_prefix=$(BUILD)/fuzz/ \
		$(BUILD)/fuzz/script scenarios

fuzz-corpus: $(BUILD)/fuzz/ops_replay $(BUILD)/fuzz/import_replay
	@$< $(CORPUS)
	@$(BUILD)/fuzz/import_replay $(IMPORT_CORPUS)

valgrind: SMALL_SCOPE := 0
valgrind: $(suites_plain)
	@KUNIT_SMALL_ADDRESS_SPACE=1 KUNIT_WRAPPER="valgrind -q --error-exitcode=1 --leak-check=full" tools/run_kunit.sh $^

# --- lint and packages ----------------------------------------------------------------------------

C_FILES = $(sort $(shell find csrc tests/c tests/fuzz -name '*.[ch]' 2>/dev/null))
LINT := $(STAMPS)/extra-test $(STAMPS)/extra-dev

.PHONY: lint format wheel clean distclean
lint: $(LINT)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	@echo 'clang-format on $(words $(C_FILES)) files'
	$(Q)$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	@for f in $(C_FILES); do expand -t 8 $$f | awk -v f=$$f "$$LONG_LINES" || exit 1; done

# As checkpatch.pl: a string of a message stays in one piece, for grep.
define LONG_LINES
length > 100 && !/^ *".*"[,;)]*$$/ {
	print f ":" NR ": " length " columns, at most 100"
	bad = 1
}
END { exit bad }
endef
export LONG_LINES

format: $(LINT)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/clang-format -i $(C_FILES)

# The wheel is built from the sdist: a file that MANIFEST.in forgets fails here.
wheel: $(STAMPS)/extra-dev
	@echo 'building sdist and wheel into $(DIST)'
	@mkdir -p $(DIST)
	$(Q)$(WITH_HEADERS) $(BIN)/python -m build --outdir $(DIST) >$(DIST)/build.log 2>&1 || \
		{ cat $(DIST)/build.log; exit 1; }

clean:
	rm -rf $(BUILD) $(DIST) *.egg-info kpkeys_bench/*.so $(STAMPS)/editable
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
