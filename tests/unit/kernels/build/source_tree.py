# SPDX-License-Identifier: GPL-2.0-only
"""A folder that looks like a kernel source to make: its makefiles copy, and write what they see."""

import os
from pathlib import Path

BPFTOOL = """\
.PHONY: bootstrap
bootstrap:
\t@test "$(FEATURES_DUMP)" = /dev/null
\t@mkdir -p $(OUTPUT)bootstrap
\t@echo made >> $(OUTPUT)bootstrap/bpftool
"""
SCHED_EXT = """\
BIN := $(O)/build/bin
names := $(patsubst %.bpf.c,%,$(wildcard *.bpf.c))
$(names): %: $(BIN)/%
\t@:
$(BIN)/%: %.c %.bpf.c
\t@mkdir -p $(BIN)
\t@test -f "$(VMLINUX_BTF)" && test -f "$(BPFTOOL)"
\t@echo "  CC $@"
\t@! grep -h error: $< >&2
\t@{ cat $<; echo "$(CLANG) $(MAKEFLAGS) $(CFLAGS) $(OUTPUT)"; } > $@
.DELETE_ON_ERROR:
"""


def make_tree(folder: Path, *names: str) -> Path:
    """A tree with schedulers of these names."""
    bpftool, sched_ext = folder / "tools/bpf/bpftool", folder / "tools/sched_ext"
    for path in (bpftool, sched_ext):
        path.mkdir(parents=True)
    (folder / "Kbuild").touch()
    (bpftool / "Makefile").write_text(BPFTOOL)
    (sched_ext / "Makefile").write_text(SCHED_EXT)
    for name in names:
        (sched_ext / f"{name}.bpf.c").write_text(f"bpf of {name}\n")
        (sched_ext / f"{name}.c").write_text(f"program of {name}\n")
    return folder


def listing(folder: Path) -> dict[str, int]:
    """Every file below a folder with the time it was changed, ns."""
    return {
        os.path.join(where, name): os.stat(os.path.join(where, name)).st_mtime_ns
        for where, _, names in os.walk(folder)
        for name in names
    }
