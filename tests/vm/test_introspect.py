# SPDX-License-Identifier: GPL-2.0-only
"""BPF maps and scheduler state read from the memory of real guests, against known contents."""

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import drgn
import pytest
from drgn.helpers.linux.bpf import bpf_map_for_each
from drgn.helpers.linux.cgroup import css_for_each_descendant_pre
from drgn.helpers.linux.percpu import per_cpu
from drgn.helpers.linux.pid import find_task, for_each_task

from ktstr.introspect import (
    Kernel,
    Limits,
    SnapshotPlan,
    attach,
    copy,
    decode,
    list_maps,
    make_plan,
)
from ktstr.kernels import resolve_kernel
from ktstr.kernels.sysroot import libbpf_sysroot
from ktstr.model.topology import Topology
from ktstr.series.errors import ActiveFilterExcludedMaps, NoActiveScheduler
from ktstr.series.lazy import LazyValue
from ktstr.series.snapshot import Snapshot
from ktstr.testing.ram import INT_BOOL, INT_SIGNED, BtfBuilder
from ktstr.vm.accel import Accelerator
from ktstr.vm.cpio import Entry, write_cpio
from ktstr.vm.launch import launch
from ktstr.vm.machine import Machine
from ktstr.vm.spec import VmSpec

pytestmark = [pytest.mark.vm, pytest.mark.anyio, pytest.mark.timeout(400)]

BOOT_S = 240.0
ROOT = Path(__file__).parents[2]
TCG = Accelerator("tcg", "the same guest on every host")


@dataclass(frozen=True)
class Guest:
    machine: Machine
    kernel: Kernel

    def freeze(self, plan: SnapshotPlan | None = None) -> Snapshot:
        plan = plan or make_plan(self.kernel)
        return decode(plan, copy(plan, self.machine.ram), self.kernel)


def guest_btf() -> str:
    """The C header with the types of introspect_guest.c."""
    b = BtfBuilder()
    u64, u32 = b.integer("unsigned long long", 8), b.integer("unsigned int", 4)
    s32 = b.integer("int", 4, INT_SIGNED)
    char, flag = b.integer("char", 1, INT_SIGNED), b.integer("_Bool", 1, INT_BOOL)
    color = b.enum("color", 4, {"RED": 0, "GREEN": 7})
    name, two = b.array(char, 8, u32), b.array(u64, 2, u32)
    value = b.composite("val", 48, [
        ("total", b.typedef("u64", u64), 0, 0), ("delta", s32, 64, 0), ("low", u32, 96, 3),
        ("mode", u32, 99, 5), ("color", color, 128, 0), ("name", name, 160, 0),
        ("on", flag, 224, 0), ("pair", two, 256, 0),
    ])  # fmt: skip
    bss = b.datasec(".bss", 72, [
        (b.var("nr_dispatched", u64), 0, 8), (b.var("state", value), 8, 48),
        (b.var("flag", flag), 56, 1), (b.var("nr_enqueued", u64), 64, 8),
    ])  # fmt: skip
    bytes_ = ",".join(map(str, b.build()))
    ids = f"#define T_U32 {u32}\n#define T_VALUE {value}\n#define T_BSS {bss}\n"
    return f"static const unsigned char BTF[] = {{{bytes_}}};\n{ids}"


@pytest.fixture(scope="module")
def kernel_image() -> Path:
    spec = os.environ.get("KTSTR_TEST_KERNEL", "debian:7")
    return anyio.run(resolve_kernel, spec).image


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Entry:
    folder = tmp_path_factory.mktemp("introspect")
    (folder / "guest_btf.h").write_text(guest_btf())
    source = Path(__file__).with_name("introspect_guest.c")
    flags = ["-std=gnu2x", "-O2", "-Wall", "-Werror", "-static", f"-I{folder}"]
    subprocess.run(["gcc", *flags, "-o", folder / "init", source], check=True)
    return Entry.file("init", (folder / "init").read_bytes(), 0o755)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    folder = tmp_path_factory.mktemp("sched")
    sysroot = anyio.run(libbpf_sysroot)
    make = ["make", "-s", "-C", str(ROOT), "-f", "guest/sched/sched.mk"]
    subprocess.run([*make, f"OUT={folder}", f"SYSROOT={sysroot}"], check=True)
    return [
        Entry.file("scx_load", (folder / "scx_load").read_bytes(), 0o755),
        Entry.file("scx_ktstr.bpf.o", (folder / "scx_ktstr.bpf.o").read_bytes()),
    ]


@asynccontextmanager
async def boot(
    folder: Path, image: Path, entries: list[Entry], cmdline: str = "", memory_mib: int = 512
) -> AsyncIterator[Guest]:
    archive = folder / "initrd.cpio"
    folders = [Entry.directory(name) for name in ("proc", "sys", "dev")]
    write_cpio(archive, [*entries, Entry.node("dev/console", "char", 5, 1), *folders])
    spec = VmSpec(
        image,
        archive,
        Topology.parse("1n1l2c1t"),
        TCG,
        memory_mib,
        cmdline=tuple(cmdline.split()),
        one_thread=True,
    )
    async with launch(spec, folder) as machine:
        place = await _ready(machine)
        attaching = partial(attach, machine.ram, place, cache_dir=folder / "cache")
        kernel = await anyio.to_thread.run_sync(attaching)
        yield Guest(machine, kernel)


async def _ready(machine: Machine) -> tuple[int, int]:
    with anyio.fail_after(BOOT_S):
        while True:
            text = machine.console_log.read_text(errors="replace")
            assert "FAILED" not in text, text[-2000:]
            lines = [x for x in text.splitlines(keepends=True) if x.startswith("READY")]
            if lines and lines[0].endswith("\n"):
                _, address, size = lines[0].split()[:3]
                return int(address, 16), int(size, 16)
            assert machine.end is None, f"{machine.end}\n{text[-2000:]}"
            await anyio.sleep(0.1)


def expected(n: int) -> dict[str, object]:
    """What make_value(n) of introspect_guest.c puts into a value."""
    return {
        "total": n * 1000003, "delta": -n, "low": n % 8, "mode": n * 5 % 32,
        "color": "GREEN" if n % 2 else "RED", "name": f"n{n}", "on": n % 2 == 1,
        "pair.0": 2**64 - 1 - n, "pair.1": n * 2**40,
    }  # fmt: skip


def found(value: LazyValue) -> dict[str, object]:
    return {
        "total": value.get("total").as_u64(), "delta": value.get("delta").as_i64(),
        "low": value.get("low").as_u64(), "mode": value.get("mode").as_u64(),
        "color": value.get("color").as_str(), "name": value.get("name").as_str(),
        "on": value.get("on").as_bool(), "pair.0": value.get("pair.0").as_u64(),
        "pair.1": value.get("pair.1").as_u64(),
    }  # fmt: skip


def check_known_maps(snapshot: Snapshot) -> None:
    """Every map of introspect_guest.c holds what the guest put into it."""
    assert snapshot.stale is None
    for name, numbers in {
        "t_array": range(8), "t_hash": range(1, 20, 2), "t_hash_np": range(30),
        "t_lru": range(7), "t_big": range(40),
    }.items():  # fmt: skip
        entries = snapshot.map(name).entries
        assert entries is not None and snapshot.map(name).truncated is None, name
        by_key = {entry.key.value.as_u64(): found(entry.value) for entry in entries}
        assert by_key == {n: expected(n) for n in numbers}, name
    for name, count in {"t_parray": 4, "t_phash": 5, "t_phash_np": 6, "t_lruph": 3}.items():
        taken = snapshot.map(name)
        percpu = taken.percpu_entries if name == "t_parray" else taken.percpu_hash_entries
        assert percpu is not None and taken.truncated is None, name
        by_cpu = {
            (entry.key.value.as_u64(), cpu): found(entry.cpu(cpu))
            for entry in percpu
            for cpu in entry.per_cpu
        }
        assert by_cpu == {
            (n, cpu): expected(100 * n + cpu) for n in range(count) for cpu in range(2)
        }, name
    assert snapshot.var("flag").as_bool()
    section = snapshot.map("tst.bss")
    assert section.get("nr_dispatched").as_u64() == 123456789
    assert section.get("state.total").as_u64() == expected(9)["total"]
    huge = snapshot.map("t_huge")
    assert huge.at(4).get("total").as_u64() == expected(4)["total"]
    assert huge.truncated is not None and "of 40000 entries" in huge.truncated
    assert snapshot.map("t_nobtf").at(0).value.data == (5).to_bytes(8, "little")
    assert "not decoded" in (snapshot.map("t_queue").error or "")


def check_active_maps(snapshot: Snapshot) -> None:
    """Of two maps with ``nr_enqueued``, the attached scheduler's is the live one."""
    in_use = {m.name for m in snapshot.active().maps}
    assert {"ktstr_ops", "scx_ktst.bss"} <= in_use
    assert not {name for name in in_use if name.startswith(("t_", "tst."))}
    assert snapshot.active_ops == "ktstr"
    live = snapshot.map("scx_ktst.bss").get("nr_enqueued").as_u64()
    assert live > 0 == snapshot.map("tst.bss").get("nr_enqueued").as_u64()
    assert snapshot.var("nr_enqueued").as_u64() == snapshot.live_var("nr_enqueued").as_u64() == live
    with pytest.raises(ActiveFilterExcludedMaps, match=r"scheduler ktstr does not use: tst\.bss"):
        snapshot.live_var("flag")
    with pytest.raises(ActiveFilterExcludedMaps):
        snapshot.active().map("t_array")


async def test_maps_of_every_kind_without_a_scheduler(
    tmp_path: Path, kernel_image: Path, init: Entry
) -> None:
    """4 GiB put the note and most of memory into the second segment; KASLR is off."""
    async with boot(tmp_path, kernel_image, [init], "nokaslr", 4096) as guest:
        assert guest.kernel.info.kaslr == 0 and len(guest.machine.ram.segments) == 2
        await guest.machine.stop()
        snapshot = guest.freeze()
        check_known_maps(snapshot)
        state = snapshot.sched_ext
        assert (state.state, state.enabled, state.ops, state.events) == (
            "disabled", False, None, None,
        )  # fmt: skip
        assert "no scheduler is loaded" in snapshot.unavailable["sched_ext.ops"]
        with pytest.raises(NoActiveScheduler, match="no scheduler is loaded"):
            snapshot.live_var("nr_enqueued")
        assert snapshot.var("nr_enqueued").as_u64() == 0
        small = guest.freeze(make_plan(guest.kernel, limits=Limits(max_chased=10)))
        assert len(small.map("t_hash_np")) == 10 and small.map("t_hash_np").truncated

        # The same memory through drgn's own helpers, which know nothing of our readers.
        prog = guest.kernel.prog
        names = [m.name.string_().decode() for m in bpf_map_for_each(prog)]
        assert names == [info.name for info in list_maps(guest.kernel)]
        for cpu in snapshot.cpus:
            theirs = per_cpu(prog["runqueues"], cpu.cpu)
            assert cpu.nr_switches == theirs.nr_switches.value_()
            assert cpu.curr_pid == theirs.curr.pid.value_()
            assert cpu.curr_comm == theirs.curr.comm.string_().decode()
            assert cpu.clock == theirs.clock.value_()
        members = prog.type("struct bpf_map").members
        assert members is not None and any(m.name == "max_entries" for m in members)
        with pytest.raises(LookupError):
            prog.type("struct no_such_thing")
        assert prog.type("enum bpf_map_type").kind == drgn.TypeKind.ENUM

        # Helpers that ask for enumerators of enums nobody named.
        listed = {task.pid.value_() for task in for_each_task(prog)}
        assert 1 in listed and {c.curr_pid for c in snapshot.cpus} - {0} <= listed
        assert find_task(prog, 1).tgid.value_() == 1
        root = prog["cgrp_dfl_root"].cgrp.self.address_of_()
        assert next(css.cgroup.level.value_() for css in css_for_each_descendant_pre(root)) == 0


async def test_a_loaded_scheduler_and_a_kernel_seen_before(
    tmp_path: Path, kernel_image: Path, init: Entry, scheduler: list[Entry]
) -> None:
    async with boot(tmp_path, kernel_image, [init, *scheduler]) as guest:
        kernel, machine = guest.kernel, guest.machine
        plan = make_plan(kernel)
        await machine.stop()
        first = guest.freeze(plan)
        again = guest.freeze(plan)
        assert first.to_json() == {**again.to_json(), "copy_ns": first.copy_ns}
        check_known_maps(first)
        state = first.sched_ext
        assert (state.state, state.ops, state.switch_all) == ("enabled", "ktstr", True)
        assert (state.exit_kind, state.exit_name, state.bypass_depth) == (0, "none", 0)
        if kernel.has_type("scx_event_stats"):
            assert state.events is not None and "dispatch_keep_last" in state.events
        assert {c.cpu for c in first.cpus} == {0, 1}
        assert all((c.curr_pid == 0) == c.idle for c in first.cpus)
        operations = first.map("ktstr_ops")
        assert operations.type_name == "struct_ops" and operations.error is None
        assert operations.get("data.name").as_str() == "ktstr"
        assert operations.get("data.enqueue").as_u64() != 0
        errors = {m.name: m.error for m in first.maps if m.error and m.name.startswith("scx")}
        assert errors == {}
        check_active_maps(first)

        await machine.cont()
        await anyio.sleep(1.0)
        await machine.stop()
        later = guest.freeze(plan)
        before, after = (s.map("scx_ktst.bss").get("nr_enqueued").as_u64() for s in (first, later))
        assert 0 < before < after
        switches = [sum(c.nr_switches or 0 for c in s.cpus) for s in (first, later)]
        assert switches[0] < switches[1]
        clocks = [[c.clock or 0 for c in s.cpus] for s in (first, later)]
        assert all(0 < a <= b for a, b in zip(*clocks, strict=True))

        # A second attach uses the symbols kept by the first; a file about other BTF is not used.
        files = list((tmp_path / "cache" / "symbols").iterdir())
        assert [f.name for f in files] == [f"{kernel.build_id}.json"]
        place = await _ready(machine)
        known = attach(machine.ram, place, cache_dir=tmp_path / "cache")
        assert known.symbol("map_idr") == kernel.symbol("map_idr")
        # Starting drgn costs more than the rest of attaching; what a snapshot needs goes without.
        make_plan(known)
        assert "prog" not in vars(known)
        assert Guest(machine, known).freeze().sched_ext == later.sched_ext
        whole = files[0].read_text()
        files[0].write_text(whole.replace(kernel.btf_digest, "0" * 32))
        assert list_maps(attach(machine.ram, place, cache_dir=tmp_path / "cache"))
        assert files[0].read_text() == whole

        # A file from before a reader needed one more name is written anew.
        content = json.loads(whole)
        del content["symbols"]["map_idr"]
        files[0].write_text(json.dumps(content))
        assert list_maps(attach(machine.ram, place, cache_dir=tmp_path / "cache"))
        assert files[0].read_text() == whole
