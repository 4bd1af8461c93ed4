# SPDX-License-Identifier: MIT
#
# One makefile for everything. A directory is discovered, not listed: a new
# store/x.c is in the library, a new tests/unit/t_x.c is a test, and so on.
# Objects live in build/<flavour>/, so that flavours and compilers never mix.
#
#   make            build build/chunkstore and build/chunkfs
#   make test       install what is missing, build, run every test
#   make demo       the same, then show the main job on a tree of this machine
#   make check      the quick tests (no mounts); also: lint
#   make test-long  all that tests can try, and test-sanitized; takes hours
#   make test-sanitized  every test with the sanitizers of addresses and of threads; also: asan tsan
#   make fuzz       look for inputs that hurt, FUZZ_SECONDS (60) a target, with clang
#   make stress     everything at once for STRESS_SECONDS (300); also: stress-asan stress-tsan
#   make bench      beside other tools, on workloads that it fetches; takes hours
#   make scale      how it grows with entries and points; also: density BENCH='TREE --next LATER'
#   make install    to $(DESTDIR)$(PREFIX)
#
# Settings: CC=clang  DEVELOPER=1 (warnings are errors)  T='tests/cli/gc.t …' (only these tests)

FLAVOUR ?= release
ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(FLAVOUR)),clang,gcc)
endif
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
INSTALL ?= install

B := build/$(FLAVOUR)$(if $(filter gcc,$(CC)),,-$(notdir $(firstword $(CC))))

# --------------------------------------------------------------- flags

WARN := -Wall -Wextra -Wshadow -Wundef -Wpointer-arith -Wwrite-strings -Wstrict-prototypes \
	-Wold-style-definition -Wmissing-prototypes -Wformat=2 -Wvla -Wswitch -fno-common \
	$(if $(DEVELOPER),-Werror)
CPPFLAGS_ALL := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I.
CFLAGS ?= -O2 -g
CFLAGS_ALL := -std=gnu11 $(CFLAGS) -fPIE -fvisibility=hidden -pthread $(WARN)
LDFLAGS_ALL := -pie -pthread -Wl,--as-needed $(LDFLAGS)

ifeq ($(FLAVOUR),asan)
CFLAGS_ALL += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS_ALL += -fsanitize=address,undefined
else ifeq ($(FLAVOUR),fuzz)
CFLAGS_ALL += -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS_ALL += -fsanitize=address,undefined
else ifeq ($(FLAVOUR),tsan)
CFLAGS_ALL += -fsanitize=thread
LDFLAGS_ALL += -fsanitize=thread
else ifeq ($(FLAVOUR),release)
CPPFLAGS_ALL += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
CFLAGS_ALL += -fstack-protector-strong
LDFLAGS_ALL += -Wl,-z,relro,-z,now
else
$(error FLAVOUR is release, asan, tsan or fuzz, not '$(FLAVOUR)')
endif

# pkg-config is asked when a recipe first needs the answer, not before: on a
# bare machine `make test` has yet to install it.
PKGS := fuse3 libseccomp libzstd libxxhash lmdb jansson
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
STORE_LIBS = $(eval STORE_LIBS := $$(shell pkg-config --libs libzstd libxxhash lmdb))$(STORE_LIBS)
FUSE_LIBS = $(eval FUSE_LIBS := $$(shell pkg-config --libs fuse3 libseccomp))$(FUSE_LIBS)
JSON_LIBS = $(eval JSON_LIBS := $$(shell pkg-config --libs jansson))$(JSON_LIBS)
TEST_LIBS = $(eval TEST_LIBS := $$(shell pkg-config --libs cmocka))$(TEST_LIBS)

COMPILE = $(CC) $(CPPFLAGS_ALL) $(CPPFLAGS) $(CFLAGS_ALL) $(PKG_CFLAGS)
LINK = $(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL)

# --------------------------------------------------------------- sources

STORE_SRC := $(sort $(wildcard store/*.c))
FS_SRC := $(sort $(wildcard fs/*.c))
TOOLS_SRC := $(sort $(wildcard tools/*.c))
UNIT_SRC := $(sort $(wildcard tests/unit/t_*.c))
UNIT_HELP_SRC := $(sort $(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c)))
GEN_SRC := $(sort $(wildcard tests/gen/*.c))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/f_*.c))
FUZZ_HELP_SRC := $(filter-out $(FUZZ_SRC) tests/fuzz/main.c tests/fuzz/seeds.c,$(sort $(wildcard tests/fuzz/*.c)))
IO_SRC := $(sort $(wildcard tests/crash/io_*.c))
REPLAY_SRC := $(filter-out $(IO_SRC),$(sort $(wildcard tests/crash/*.c)))
MAN := $(sort $(wildcard man/*.[1-9]))

obj = $(patsubst %.c,$(B)/%.o,$(1))
LIB := $(B)/libchunkstore.a
PROGRAMS := $(B)/chunkstore $(B)/chunkfs
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(UNIT_SRC))
GEN := $(patsubst tests/gen/%.c,$(B)/tests/gen/%,$(GEN_SRC))
FUZZ := $(patsubst %.c,$(B)/%,$(FUZZ_SRC))
# tests/crash: the replayer, and the library that records what a program does to its files.
CRASH_HELP := $(B)/tests/crash/replay $(B)/tests/crash/io.so
# tests/waits: a library that times write transactions.
WAITS_HELP := $(B)/tests/waits/held.so
# tests/lib: the library that counts look-ups, and the one that paces a reader.
GETS := $(B)/tests/lib/gets.so
PACED := $(B)/tests/lib/paced.so
# What a unit test may use of the programs: all but their main().
FS_PARTS := $(call obj,$(filter-out fs/main.c,$(FS_SRC)))
TOOLS_PARTS := $(call obj,$(filter-out tools/main.c,$(TOOLS_SRC)))

.PHONY: all programs tests-built check test test-long test-run test-sanitized asan tsan stress stress-asan stress-tsan \
	stress-run fuzz fuzz-run lint demo bench scale density install deps clean FORCE
.DELETE_ON_ERROR:
.SUFFIXES:

all: programs
ifneq ($(filter build/release%,$(B)),)
	@ln -sfn $(notdir $(B))/chunkstore build/chunkstore
	@ln -sfn $(notdir $(B))/chunkfs build/chunkfs
endif

programs: $(PROGRAMS)

# --------------------------------------------------------------- build

# Changes when the compiler, a flag or the set of sources does.
$(B)/settings: FORCE
	@mkdir -p $(@D)
	@pkg-config --exists $(PKGS) || \
		{ echo "libraries are missing; 'make deps' installs them: $(PKGS)" >&2; exit 1; }
	@echo '$(COMPILE) $(LDFLAGS_ALL) $(STORE_SRC) $(FS_SRC) $(TOOLS_SRC)' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(B)/%.o: %.c $(B)/settings
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c -o $@ $<

$(LIB): $(call obj,$(STORE_SRC)) $(B)/settings
	rm -f $@
	ar rcs $@ $(filter %.o,$^)

$(B)/chunkfs: $(call obj,$(FS_SRC)) $(LIB)
	$(LINK) -o $@ $^ $(STORE_LIBS) $(FUSE_LIBS)

$(B)/chunkstore: $(call obj,$(TOOLS_SRC)) $(LIB)
	$(LINK) -o $@ $^ $(STORE_LIBS) $(JSON_LIBS)

$(B)/tests/parts.a: $(FS_PARTS) $(TOOLS_PARTS) $(call obj,$(UNIT_HELP_SRC)) $(B)/settings
	@mkdir -p $(@D)
	rm -f $@
	ar rcs $@ $(filter %.o,$^)

$(UNIT): %: %.o $(B)/tests/parts.a $(LIB)
	$(LINK) -o $@ $^ $(STORE_LIBS) $(FUSE_LIBS) $(JSON_LIBS) $(TEST_LIBS)

# A fuzz target finds inputs of its own (fuzz), or replays those that are kept.
FUZZ_MAIN = $(if $(filter fuzz,$(FLAVOUR)),,$(call obj,tests/fuzz/main.c))
$(FUZZ): %: %.o $(call obj,$(FUZZ_HELP_SRC) tests/fuzz/main.c) $(B)/tests/parts.a $(LIB)
	$(LINK) $(if $(filter fuzz,$(FLAVOUR)),-fsanitize=fuzzer) -o $@ $< $(call obj,$(FUZZ_HELP_SRC)) \
		$(FUZZ_MAIN) $(B)/tests/parts.a $(LIB) $(STORE_LIBS) $(FUSE_LIBS) $(JSON_LIBS)

# Inputs to begin with, for tests/fuzz/corpus.
$(B)/tests/fuzz/seeds: $(call obj,tests/fuzz/seeds.c $(FUZZ_HELP_SRC)) $(B)/tests/parts.a $(LIB)
	$(LINK) -o $@ $^ $(STORE_LIBS) $(FUSE_LIBS) $(JSON_LIBS)

$(GEN): %: %.o $(LIB)
	$(LINK) -o $@ $^ $(STORE_LIBS) $(FUSE_LIBS)

$(B)/tests/crash/replay: $(call obj,$(REPLAY_SRC)) $(LIB)
	$(LINK) -o $@ $^ $(STORE_LIBS)

# Preloaded into any program: without the flavour's sanitizer.
$(B)/tests/crash/io.so: $(IO_SRC) $(wildcard tests/crash/*.h) $(B)/settings
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARN) -fPIC -shared -pthread -o $@ $(IO_SRC) -ldl

$(B)/tests/waits/held.so: tests/waits/held.c $(B)/settings
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARN) $(PKG_CFLAGS) -fPIC -shared -o $@ $< -ldl

$(GETS): tests/lib/gets.c $(B)/settings
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARN) $(PKG_CFLAGS) -fPIC -shared -o $@ $< -ldl

$(PACED): tests/lib/paced.c $(B)/settings
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARN) -fPIC -shared -o $@ $< -ldl

# tests/lib: the library that refuses an allocation.
NOMEM := $(B)/tests/lib/nomem.so
$(NOMEM): tests/lib/nomem.c $(B)/settings
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARN) -fno-builtin -fPIC -shared -o $@ $<

tests-built: all $(UNIT) $(GEN) $(FUZZ) $(CRASH_HELP) $(WAITS_HELP) $(GETS) $(PACED) $(NOMEM)

-include $(patsubst %.c,$(B)/%.d,$(STORE_SRC) $(FS_SRC) $(TOOLS_SRC) $(UNIT_SRC) $(UNIT_HELP_SRC) $(GEN_SRC) $(REPLAY_SRC) \
	$(FUZZ_SRC) $(FUZZ_HELP_SRC) tests/fuzz/main.c tests/fuzz/seeds.c)

# --------------------------------------------------------------- tests

# For the targets that prepare the machine first and then build: all
# processors, unless the caller said how many.
SUBMAKE = +$(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
DEPS := tests/lib/deps.sh

CHECKS := $(UNIT) $(sort $(wildcard tests/cli/*.t))
MOUNTS := $(sort $(wildcard tests/mount/*.t))
CRASHES := $(sort $(wildcard tests/crash/*.t) $(wildcard tests/waits/*.t) $(wildcard tests/fuzz/*.t))
STRESS := $(sort $(wildcard tests/stress/*.t))
LINTS := tests/lint/lint.t

deps:
	$(DEPS) build test

check:
	$(DEPS) build test
	$(SUBMAKE) test-run CS_TEST_QUICK=1 T='$(or $(T),$(CHECKS))'

test:
	$(DEPS) build test
	$(SUBMAKE) test-run

test-long:
	$(DEPS) build test
	$(SUBMAKE) test-run CS_TEST_LONG=1 CS_TEST_TIMEOUT=3600
	$(SUBMAKE) test-sanitized

asan tsan:
	$(DEPS) build test
	$(SUBMAKE) test-run FLAVOUR=$@

# One after the other: each takes all processors.
test-sanitized:
	$(SUBMAKE) asan
	$(SUBMAKE) tsan

test-run: tests-built
	BUILD=$(abspath $(B)) FLAVOUR=$(FLAVOUR) CC='$(CC)' CS_TEST_LONG=$(CS_TEST_LONG) CS_TEST_QUICK=$(CS_TEST_QUICK) \
		tests/lib/run-tests $(or $(T),$(CHECKS) $(MOUNTS) $(CRASHES) $(STRESS) $(LINTS))

stress:
	$(DEPS) build test
	$(SUBMAKE) stress-run

stress-asan stress-tsan:
	$(DEPS) build test
	$(SUBMAKE) stress-run FLAVOUR=$(@:stress-%=%)

stress-run: tests-built
	BUILD=$(abspath $(B)) FLAVOUR=$(FLAVOUR) CC='$(CC)' tests/stress/run

FUZZ_SECONDS ?= 60
fuzz:
	$(DEPS) fuzz
	$(SUBMAKE) fuzz-run FLAVOUR=fuzz

fuzz-run: $(FUZZ)
	BUILD=$(abspath $(B)) tests/fuzz/run $(FUZZ_SECONDS) $(T)

lint:
	$(DEPS) build test
	CC='$(CC)' tests/lib/run-tests $(LINTS)

demo:
	$(DEPS) build
	$(SUBMAKE) all
	@BUILD=$(abspath $(B)) tests/demo/run

# BENCH='--workload K --small …' is passed on; see tests/perf/run --help, and so on.
bench scale density:
	$(DEPS) build test
	$(SUBMAKE) programs $(GEN)
	BUILD=$(abspath $(B)) tests/perf/$(@:bench=run) --out build/bench/$@ $(BENCH)

# --------------------------------------------------------------- install

install: all
	$(INSTALL) -d $(DESTDIR)$(BINDIR)
	$(INSTALL) -m 755 $(PROGRAMS) $(DESTDIR)$(BINDIR)
	@set -e; for m in $(MAN); do \
		d=$(DESTDIR)$(MANDIR)/man$${m##*.}; \
		$(INSTALL) -d $$d; $(INSTALL) -m 644 $$m $$d; \
	done

clean:
	rm -rf build
