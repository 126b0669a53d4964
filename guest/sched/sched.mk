# SPDX-License-Identifier: GPL-2.0-only
# The fixture scheduler, the loader and the probes:
#   make -f guest/sched/sched.mk OUT=DIR SYSROOT=DIR
# SYSROOT is an unpacked libbpf-dev >= 1.4; libelf.a and libz.a come from the
# system (libelf-dev, zlib1g-dev). Results: OUT/scx_ktstr.bpf.o, OUT/scx_load, and the
# probes of a repeated run: OUT/probe.bpf.o, OUT/scx_probe; and the reader of snapshots that the
# guest takes: OUT/snap.bpf.o, OUT/scx_snap.

SCHED_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
OUT ?= build/guest
SYSROOT ?=
CLANG ?= $(firstword $(shell command -v clang-19 clang 2>/dev/null) clang-19)
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

SCHED_BPF := $(OUT)/scx_ktstr.bpf.o
SCHED_LOAD := $(OUT)/scx_load
PROBE_BPF := $(OUT)/probe.bpf.o
PROBE := $(OUT)/scx_probe
SNAP_BPF := $(OUT)/snap.bpf.o
SNAP := $(OUT)/scx_snap
SCHED_HEADERS := $(wildcard $(SCHED_DIR)/*.h) $(SCHED_DIR)/../common/msgpack_out.h
SCHED_LOAD_SRCS := $(addprefix $(SCHED_DIR)/,scx_load.c object.c globals.c exit_record.c status.c \
	json_in.c options.c stats_server.c stats_globals.c)
SNAP_SRCS := $(addprefix $(SCHED_DIR)/,scx_snap.c snap_maps.c snap_objects.c snap_cpus.c)
PROBE_SRCS := $(addprefix $(SCHED_DIR)/,scx_probe.c prober.c probe_exits.c probe_callbacks.c)

SCHED_CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Werror -D_GNU_SOURCE -I$(SYSROOT)/usr/include
# -g is what makes BTF; v3 instructions exist since long before sched_ext.
SCHED_BPF_CFLAGS := -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter \
	-I$(SYSROOT)/usr/include -I/usr/include/$(MULTIARCH)
SCHED_LIBS = $(firstword $(wildcard $(SYSROOT)/usr/lib/$(MULTIARCH)/libbpf.a) -lbpf) -lelf -lz

.PHONY: sched sched-clean
.DELETE_ON_ERROR:
sched: $(SCHED_BPF) $(SCHED_LOAD) $(PROBE_BPF) $(PROBE) $(SNAP_BPF) $(SNAP)

$(OUT):
	mkdir -p $@

$(OUT)/%.bpf.o: $(SCHED_DIR)/%.bpf.c $(SCHED_HEADERS) | $(OUT)
	$(CLANG) $(SCHED_BPF_CFLAGS) -c $< -o $@

$(SCHED_LOAD): $(SCHED_LOAD_SRCS) $(SCHED_HEADERS) | $(OUT)
	$(CC) $(SCHED_CFLAGS) -static -s $(SCHED_LOAD_SRCS) -o $@ $(SCHED_LIBS)

$(PROBE): $(PROBE_SRCS) $(SCHED_HEADERS) | $(OUT)
	$(CC) $(SCHED_CFLAGS) -static -s $(PROBE_SRCS) -o $@ $(SCHED_LIBS)

$(SNAP): $(SNAP_SRCS) $(SCHED_HEADERS) | $(OUT)
	$(CC) $(SCHED_CFLAGS) -static -s $(SNAP_SRCS) -o $@ $(SCHED_LIBS)

sched-clean:
	rm -f $(SCHED_BPF) $(SCHED_LOAD) $(PROBE_BPF) $(PROBE) $(SNAP_BPF) $(SNAP)
