# SPDX-License-Identifier: GPL-2.0-only
# The workload generator, one static binary: make -f guest/worker/worker.mk OUT=DIR builds DIR/worker.

WORKER_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
WORKER_COMMON := $(WORKER_DIR)/../common
OUT ?= build/guest
CC = gcc
WORKER_CFLAGS ?= -std=gnu11 -O2 -static -s -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes

WORKER_SRCS := $(addprefix $(WORKER_DIR)/, \
	main.c spec.c leader.c crew.c spawn.c worker.c report.c telemetry.c epoch.c reading.c procfs.c \
	placement.c affinity.c mempolicy.c custom.c measure.c relax.c jitter.c \
	works.c work.c work_spin.c work_alu.c work_pipe.c work_futex.c work_io.c work_timer.c \
	await.c pipe_pair.c work_cache.c work_fanout.c work_lock.c work_queue.c work_sequence.c \
	work_idle.c work_smt.c \
	control.c own_cgroup.c scratch.c work_churn.c work_affinity.c work_fault.c work_cgroup.c work_rt.c \
	work_chain.c work_signal.c work_epoll.c work_numa.c work_net.c \
	plat.c engine.c schbench.c schbench_threads.c taobench.c taobench_cache.c)
WORKER_HDRS := $(wildcard $(WORKER_DIR)/*.h $(WORKER_COMMON)/*.h)

$(OUT)/worker: $(WORKER_SRCS) $(WORKER_HDRS) $(WORKER_DIR)/worker.mk
	mkdir -p $(OUT)
	$(CC) $(WORKER_CFLAGS) $(CPPFLAGS) -I$(WORKER_COMMON) -o $@ $(WORKER_SRCS)
