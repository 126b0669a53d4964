# SPDX-License-Identifier: GPL-2.0-only
# The workload generator, one static binary: make -f guest/worker/worker.mk OUT=DIR builds DIR/worker.

WORKER_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
WORKER_COMMON := $(WORKER_DIR)/../common
OUT ?= build/guest
CC = gcc
WORKER_CFLAGS ?= -std=gnu11 -O2 -static -s -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes

WORKER_SRCS := $(addprefix $(WORKER_DIR)/, \
	main.c spec.c leader.c spawn.c worker.c report.c telemetry.c procfs.c placement.c relax.c \
	works.c work_spin.c work_alu.c work_pipe.c work_futex.c work_io.c work_timer.c)
WORKER_HDRS := $(wildcard $(WORKER_DIR)/*.h $(WORKER_COMMON)/*.h)

$(OUT)/worker: $(WORKER_SRCS) $(WORKER_HDRS) $(WORKER_DIR)/worker.mk
	mkdir -p $(OUT)
	$(CC) $(WORKER_CFLAGS) -I$(WORKER_COMMON) -o $@ $(WORKER_SRCS)
