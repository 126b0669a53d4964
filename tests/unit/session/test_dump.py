# SPDX-License-Identifier: GPL-2.0-only
"""When dumps are taken, what each failure on the way leaves, and what ``ktstr dump`` answers."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from click.testing import CliRunner

from ktstr.cli.main import main as ktstr_command
from ktstr.errors import QemuDied
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.watch import Watched
from ktstr.series.dump.parts import DsqState, Frame, StackTrace, TaskState, VcpuRegisters
from ktstr.series.dump.report import (
    AT_END,
    AT_EXIT,
    DegradedFailureDumpReport,
    EventCounterSample,
    FailureDumpReport,
)
from ktstr.series.dump.text import dump_text, sparkline
from ktstr.series.lazy import U32, LazyValue
from ktstr.series.maps import Entry, MapSnapshot, PerCpuEntry
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.series.values import Struct, Uint
from ktstr.series.values_json import Recorded
from ktstr.session import dump as module
from ktstr.session.dump import Dumps, exit_kind
from ktstr.session.evidence import write_evidence
from ktstr.session.recorder import Recorder, SchedulerExit
from ktstr.vm.gdb import Stop

pytestmark = pytest.mark.anyio
TARGET = Watched("scx_root->exit_kind", "", 0x1000, 4)
HIT = Stop(5, 1, 0x1000)


class Kernel:
    """A kernel of a few words."""

    def __init__(self, kind: int = 1024, **symbols: int) -> None:
        self.symbols = symbols
        self.memory: dict[int, int] = {0x1000: kind, 0x2000: 0x3000}

    def symbol(self, name: str) -> int | None:
        return self.symbols.get(name)

    def field(self, struct_name: str, path: str) -> Any:
        return SimpleNamespace(offset=0x40, size=4)

    def read_unsigned(self, address: int, size: int) -> int:
        if address not in self.memory:
            raise UnreadableMemory(f"nothing is mapped at {address:#x}")
        return self.memory[address]


class Machine:
    ram = None
    said: object = "CPU#0"

    async def qmp(self, command: str, arguments: Any) -> object:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def live(kind: str = "bpf") -> Any:
    scheduler = SimpleNamespace(kind=kind, bpf="scx_ktstr", binary=None)
    return SimpleNamespace(
        recorder=Recorder({}),
        machine=Machine(),
        definition=SimpleNamespace(scenario=SimpleNamespace(scheduler=scheduler)),
        report=lambda: None,
    )


WHOLE = FailureDumpReport("why", trigger=AT_EXIT, snapshot=None)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What read_dump was called with; it gives what ``answer`` holds."""
    calls: list[Any] = []

    def read_dump(kernel: Any, memory: Any, registers: Any, **more: Any) -> FailureDumpReport:
        calls.append((registers, more))
        return FailureDumpReport(more["reason"], trigger=more["trigger"])

    monkeypatch.setattr(module, "read_dump", read_dump)
    return calls


async def test_an_error_is_dumped_where_it_is_written(reads: list[Any]) -> None:
    dumps, run = Dumps(), live()
    assert await dumps._at_exit(run, TARGET, Kernel(1026), HIT) is True
    ((registers, more),) = reads
    assert registers == "CPU#0" and more["scheduler_comm"] == "scx_load"
    best = dumps.best(run, FailureDumpReport("at the end", trigger=AT_END))
    assert isinstance(best, FailureDumpReport)
    assert (best.trigger, best.reason) == (AT_EXIT, "at the end")


@pytest.mark.parametrize(("kind", "done"), [(0, False), (1, True), (64, True), (67, True)])
async def test_a_scheduler_that_leaves_is_not_dumped(
    reads: list[Any], kind: int, done: bool
) -> None:
    dumps, run = Dumps(), live()
    assert await dumps._at_exit(run, TARGET, Kernel(kind), HIT) is done
    end = FailureDumpReport("at the end")
    assert reads == [] and dumps.best(run, end) is end


async def test_a_dump_that_fails_is_degraded_and_the_end_stands_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> FailureDumpReport:
        raise ZeroDivisionError("no")

    monkeypatch.setattr(module, "read_dump", fail)
    dumps, run = Dumps(), live()
    assert await dumps._at_exit(run, TARGET, Kernel(), HIT) is True
    end = FailureDumpReport("at the end")
    assert dumps.best(run, end) is end
    run.recorder.hello = object()
    left = dumps.without_memory(run, "lost", "QEMU is gone")
    assert left == DegradedFailureDumpReport("no", 0.0, 1024, watchpoint_hit=True)


async def test_a_dump_that_takes_too_long_is_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    release = anyio.Event()

    async def never(*_: Any, **__: Any) -> None:
        await release.wait()

    monkeypatch.setattr(module.anyio.to_thread, "run_sync", never)
    monkeypatch.setattr(module, "READ_S", 0.01)
    dumps, run = Dumps(), live()
    assert await dumps._at_exit(run, TARGET, Kernel(), HIT) is True
    left = dumps.without_memory(run, "lost", "")
    assert isinstance(left, DegradedFailureDumpReport) and "longer than" in left.reason


async def test_registers_that_qemu_does_not_tell_are_no_reason_to_fail(reads: list[Any]) -> None:
    dumps, run = Dumps(), live()
    run.machine.said = QemuDied("gone")
    assert await dumps._at_exit(run, TARGET, Kernel(), HIT) is True
    assert reads[0][0] is None


async def test_what_is_left_without_memory() -> None:
    dumps, run = Dumps(), live()
    nothing = dumps.without_memory(run, "no Hello came", "no memory")
    assert isinstance(nothing, FailureDumpReport) and nothing.is_placeholder
    assert nothing.to_json()["scx_walker_unavailable"] == "no Hello came; no memory"
    run.recorder.hello = object()
    left = dumps.without_memory(run, "hung", "reading took longer")
    assert isinstance(left, DegradedFailureDumpReport)
    assert (left.reason, left.exit_kind) == ("hung; reading took longer", None)


async def test_the_kernels_message_is_added_from_the_exit_record() -> None:
    dumps, run = Dumps(), live()
    shot = Snapshot("r", (), (), SchedExtState(exit_kind=1024))
    dumps._early = FailureDumpReport("", trigger=AT_EXIT, snapshot=shot)
    run.recorder.scheduler_exit = SchedulerExit(
        "", "", 1024, "ERROR", 0, "runtime error", "bad dsq", "", None, ""
    )
    best = dumps.best(run, FailureDumpReport("end"))
    assert isinstance(best, FailureDumpReport) and best.snapshot is not None
    assert best.snapshot.sched_ext.exit_message == "runtime error: bad dsq"


def test_where_the_exit_kind_is() -> None:
    old: Any = Kernel(scx_exit_kind=0x5000)
    assert exit_kind(old) == Watched("scx_exit_kind", "", 0x5000, 4)
    new: Any = Kernel(scx_root=0x2000)
    assert exit_kind(new) == Watched("scx_root->exit_kind", "", 0x3040, 4)
    new.memory[0x2000] = 0
    assert exit_kind(new) is None
    none: Any = Kernel()
    assert exit_kind(none) is None


def test_evidence_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("an older and longer text")
    write_evidence(tmp_path, {"a.txt": "new", "b.txt": ""}, {})
    assert (os.listdir(tmp_path), (tmp_path / "a.txt").read_text()) == (["a.txt"], "new")


# -- text and the command --------------------------------------------------------------------------


def value(number: int) -> LazyValue:
    return LazyValue(b"", Recorded(Uint(64, number)))


def index(number: int) -> LazyValue:
    return LazyValue(number.to_bytes(4, "little"), U32())


GLOBALS = MapSnapshot(
    "s.bss", 1, 2, "array", 4, 8, 1,
    value=LazyValue(b"", Recorded(Struct(None, (("stall", Uint(32, 1)), ("hits", Uint(64, 9)))))),
)  # fmt: skip
ARRAY = MapSnapshot(
    "hist", 2, 2, "array", 4, 8, 4,
    entries=tuple(Entry(index(n), value(5 if n == 1 else 0)) for n in range(5)),
)  # fmt: skip
PER_CPU = MapSnapshot(
    "stats", 3, 6, "percpu_array", 4, 8, 1,
    percpu_entries=(PerCpuEntry(index(0), {0: value(3), 1: None}),),
)  # fmt: skip
DUMP = FailureDumpReport(
    "the reason",
    trigger=AT_EXIT,
    elapsed_ms=1234,
    snapshot=Snapshot(
        "6.99",
        (GLOBALS, ARRAY, PER_CPU),
        (CpuSnapshot(0, nr_running=2, curr_pid=5, curr_comm="five"), CpuSnapshot(1)),
        SchedExtState("enabled", ops="s", exit_kind=1026, exit_name="error_stall", events={"a": 1}),
    ),
    tasks=(
        TaskState(5, 5, "five", 0, "R", True, True, "ext", prio=120, weight=100),
        TaskState(6, 6, "six\x1b[2J", 0, "R", True, False, "ext", prio=120, weight=100,
                  dsq_id=0x17, slice_ns=5_000_000, runnable_ms=300.0),
    ),
    queues=(DsqState("user", 0x17, length=1, pids=(6,)), DsqState("local", 1 << 63 | 2, cpu=0)),
    registers=(VcpuRegisters(0, 0, True, {"rip": 16}),),
    traces=(
        StackTrace(5, "five", "vcpu", (Frame(16, "f+0x1", "register"), Frame(17, "g+0x2", "orc"))),
        StackTrace(6, "six", "task", (Frame(18, "h+0x3", "scan"),), "a note"),
    ),
    timeline=(EventCounterSample(0, {"a": 1, "b": 0}), EventCounterSample(5, {"a": 8, "b": 0})),
    unavailable={"host": "not here"},
)  # fmt: skip


def test_the_text_has_each_part() -> None:
    text = dump_text(DUMP)
    for part in (
        "failure dump: the reason\ntaken at the write of the exit kind, after 1234 ms of workload",
        "enabled, scheduler s, exit kind 1026 (error_stall)",
        "user 0x17: 1 queued\n    6 six",
        "CPU 0: 2 runnable, runs 5 five",
        "     R ext    120    100       5.0        300  user 0x17",
        "  5 five on a CPU (orc)\n    f+0x1\n    g+0x2\n",
        "  6 six (scan)\n    ? h+0x3\n    [a note]\n",
        "  CPU 0 in the kernel, halted\n        rip 0000000000000010\n",
        "▁█ 1 to 8",
        "map s.bss (array, id 1)\n  stall = 1\n  hits = 9\n",
        "  [0] = 0\n  [1] = 5\n  [2] to [4] = 0\n",
        "  [0] CPU 0 = 3\n  [0] CPU 1 = not read\n",
        "not available\n  host: not here\n",
    ):
        assert part in text, part
    assert "\x1b" not in text


def test_sparklines() -> None:
    assert sparkline([0, 0]) == "▁▁" and sparkline([3, 3]) == "▅▅"
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one record and its evidence."""
    evidence = tmp_path / "demo-id.evidence"
    evidence.mkdir()
    (evidence / "failure-dump.json").write_text(json.dumps(DUMP.to_json()))
    (tmp_path / "demo-id.ktstr.json").write_text("{}")
    return tmp_path


def ask(path: Path, *args: str) -> tuple[int, str]:
    result = CliRunner().invoke(ktstr_command, ["dump", str(path), *args])
    return result.exit_code, result.output


def test_every_way_to_a_dump(folder: Path) -> None:
    evidence = folder / "demo-id.evidence"
    for path in (folder, folder / "demo-id.ktstr.json", evidence, evidence / "failure-dump.json"):
        assert ask(path) == (0, dump_text(DUMP))
    code, output = ask(folder, "--json")
    assert code == 0 and json.loads(output) == DUMP.to_json()


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (["--var", "stall"], "1\n"),
        (["--map", "hist", "--key", "1"], "5\n"),
        (["--map", "stats", "--cpu", "0"], "[0] = 3\n"),
        (["--map", "stats", "--cpu", "0", "--key", "0"], "[0] = 3\n"),
        (["--map", "stats", "--key", "0"], "CPU 0 = 3\nCPU 1 = not read\n"),
        (["--var", "hits", "--json"], '{\n "kind": "uint",\n "bits": 64,\n "value": 9\n}\n'),
    ],
)
def test_questions_and_answers(folder: Path, args: list[str], answer: str) -> None:
    assert ask(folder, *args) == (0, answer)


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--tasks"], "five"),
        (["--queues"], "user 0x17: 1 queued"),
        (["--stacks"], "? h+0x3"),
        (["--cpu", "0"], "rip 0000000000000010"),
    ],
)
def test_parts(folder: Path, args: list[str], part: str) -> None:
    code, output = ask(folder, *args)
    assert code == 0 and part in output and "\x1b" not in output


@pytest.mark.parametrize(
    ("args", "there"),
    [
        (["--var", "stal"], "variables here: stall, hits"),
        (["--map", "his"], "maps here: s.bss, hist, stats"),
        (["--map", "hist", "--key", "9"], "keys: 0, 1, 2, 3, 4"),
        (["--map", "stats", "--cpu", "1"], "could not be read"),
        (["--map", "hist", "--cpu", "1"], "no value per CPU"),
        (["--cpu", "4"], "CPUs here: 0, 1"),
    ],
)
def test_unknown_names_list_what_there_is(folder: Path, args: list[str], there: str) -> None:
    code, output = ask(folder, *args)
    assert code == 4 and there in output


def test_what_is_no_dump_is_told(tmp_path: Path, folder: Path) -> None:
    (folder / "demo-id.evidence" / "failure-dump.json").unlink()
    code, output = ask(folder)
    assert code == 4 and "only runs that do not pass leave one" in output
    for text in ("", "{}", "[1]", '{"schema": "dual"}', '{"schema": "single", "format": 9}'):
        (tmp_path / "x.json").write_text(text)
        code, output = ask(tmp_path / "x.json")
        assert code == 4 and output.startswith("error: "), output
    (tmp_path / "x.json").write_text(json.dumps(FailureDumpReport.placeholder("gone").to_json()))
    assert ask(tmp_path / "x.json")[1].startswith("failure dump, placeholder: gone\n")
    code, output = ask(tmp_path / "x.json", "--tasks")
    assert code == 4 and "holds nothing that could be asked for: gone" in output
