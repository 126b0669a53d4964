# SPDX-License-Identifier: GPL-2.0-only
"""A guest of 8 vCPUs with 30 BPF maps that hold 1 MiB of values, beside the scheduler's."""

import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
from tests.bench.boot import Booted, booted

from ktstr.introspect import Kernel, list_maps
from ktstr.session.definition import define
from ktstr.session.events import ignore
from ktstr.session.needs import vm_spec
from ktstr.session.options import RunOptions
from ktstr.session.prepare import Prepared, prepared
from ktstr.testing.ram import INT_BOOL, INT_SIGNED, BtfBuilder

MAPS = 30
SOURCE = Path(__file__).with_name("maps_guest.c")
SECTION_ARRAYS = 3
SECTION_WORDS = 3265
"""Words of each array of a data section: what is left of 1 MiB by the other maps, in nine parts."""
FILL_LIMIT_S = 60.0

SCENARIO = """
name = "many_maps"
[vm]
topology = "1n2l4c1t"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "600s"
ops = [{ op = "RunPayload", name = "maps", command = "maps_guest" }]
[[steps.cgroups]]
name = "busy"
works = [{ type = "Mixed", workers = 8 }]
[checks]
not_starved = true
"""


def _types() -> str:
    """The C header with the types of maps_guest.c."""
    b = BtfBuilder()
    u64, u32 = b.integer("unsigned long long", 8), b.integer("unsigned int", 4)
    s32 = b.integer("int", 4, INT_SIGNED)
    char, flag = b.integer("char", 1, INT_SIGNED), b.integer("_Bool", 1, INT_BOOL)
    state = b.enum("state", 4, {"NEW": 0, "QUEUED": 1, "RUNNING": 2, "DONE": 3})
    name, two = b.array(char, 8, u32), b.array(u64, 2, u32)
    task = b.composite("task", 48, [
        ("total", b.typedef("u64", u64), 0, 0), ("delta", s32, 64, 0), ("low", u32, 96, 3),
        ("mode", u32, 99, 5), ("state", state, 128, 0), ("name", name, 160, 0),
        ("on", flag, 224, 0), ("pair", two, 256, 0),
    ])  # fmt: skip
    words = b.array(u64, SECTION_WORDS, u32)
    size = 8 * SECTION_WORDS
    variables = [(b.var(f"table{n}", words), n * size, size) for n in range(SECTION_ARRAYS)]
    bss = b.datasec(".bss", SECTION_ARRAYS * size, variables)
    bytes_ = ",".join(map(str, b.build()))
    return (
        f"static const unsigned char BTF[] = {{{bytes_}}};\n"
        f"#define T_U32 {u32}\n#define T_U64 {u64}\n#define T_TASK {task}\n#define T_BSS {bss}\n"
        f"#define SECTION_WORDS {SECTION_ARRAYS * SECTION_WORDS}\n"
    )


def _build(folder: Path) -> None:
    (folder / "maps_btf.h").write_text(_types())
    flags = ["-std=gnu2x", "-O2", "-Wall", "-Werror", "-static", f"-I{folder}"]
    subprocess.run(["gcc", *flags, "-o", folder / "maps_guest", SOURCE], check=True)


@asynccontextmanager
async def ready(folder: Path) -> AsyncIterator[Prepared]:
    """A prepared run whose payload makes the maps."""
    _build(folder)
    path = folder / "many_maps.toml"
    path.write_text(SCENARIO)
    options = RunOptions()
    async with prepared(define(path, options), options, folder, ignore) as found:
        yield found


@asynccontextmanager
async def filled(
    found: Prepared, folder: Path, *, one_thread: bool = False
) -> AsyncIterator[Booted]:
    """The guest, its scheduler attached and its step begun."""
    spec = replace(vm_spec(found), one_thread=one_thread)
    async with booted(found, spec, folder) as guest:
        await guest.attach_scheduler()
        yield guest


async def maps_there(kernel: Kernel) -> None:
    """Wait until the payload made its last map and had time to fill it.

    :raises TimeoutError: when it did not within a minute.
    """
    limit = time.monotonic() + FILL_LIMIT_S
    while True:
        kernel.forget()
        names = [info.name for info in await anyio.to_thread.run_sync(list_maps, kernel)]
        if f"b{MAPS}.bss" in names:
            break
        if time.monotonic() > limit:
            raise TimeoutError(f"the guest has {len(names)} maps, the payload's last is missing")
        await anyio.sleep(0.2)
    await anyio.sleep(1)
