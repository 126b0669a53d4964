# SPDX-License-Identifier: GPL-2.0-only
"""What a guest reads of its own sched_ext state, run queues and CPU times, checked."""

from collections.abc import Sequence
from typing import Any, Final

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Btf, Field, Kind
from ktstr.introspect.cputime import SOFTIRQS, STATES
from ktstr.series.host import PerCpuTime
from ktstr.series.snapshot import CpuSnapshot, SchedExtState
from ktstr.session.guest_types import GuestTypes
from ktstr.telemetry.decode import MAX_CPU, Fields

_COUNTERS: Final = 256
_USER_HZ_NS: Final = 10_000_000
"""``/proc/stat`` counts hundredths of a second."""

_NUMBERS: Final = (
    "nr_running",
    "scx_nr_running",
    "local_dsq_depth",
    "scx_flags",
    "clock",
    "nr_switches",
    "curr_pid",
    "curr_tgid",
)
NOT_SHOWN: Final = "the guest read this snapshot itself, and its kernel shows that to nobody inside"
OWN_PROCESS: Final = "the snapshot's own process ran there and is left out"
_HIDDEN: Final = (
    "sched_ext.exit_kind",
    "sched_ext.aborting",
    "sched_ext.bypass_depth",
    "host.iowait_sleeptime_ns",
    "host.per_tgid_time",
    "host.cgroup_psi",
)
FILES: Final = (
    "state",
    "switch_all",
    "nr_rejected",
    "enable_seq",
    "ops",
    "events",
    "stat",
    "schedstat",
)
_MAX_FILE: Final = 1 << 16


def read_files(values: Fields) -> dict[str, str]:
    """The kernel's files by name; those it does not have are absent.

    :raises WireError: naming the field that is wrong.
    """
    found: dict[str, str] = {}
    for name in FILES:
        raw = values.take(name)
        if raw is None:
            continue
        if type(raw) is not bytes or len(raw) > _MAX_FILE:
            values.refuse(name, raw, f"at most {_MAX_FILE} bytes")
        found[name] = raw.decode("utf-8", "backslashreplace").strip()
    values.done()
    return found


def sched_ext_state(
    files: dict[str, str], release: str, unavailable: dict[str, str]
) -> SchedExtState:
    """The state as ``/sys/kernel/sched_ext`` shows it."""
    unavailable.update(dict.fromkeys(_HIDDEN, NOT_SHOWN))
    state = files.get("state")
    if state is None:
        unavailable["sched_ext"] = f"kernel {release} has no sched_ext (CONFIG_SCHED_CLASS_EXT)"
        return SchedExtState()
    loaded = state != "disabled"
    events = _events(files.get("events")) if loaded else None
    if events is None:
        why = "this kernel shows none in root/events" if loaded else "no scheduler is loaded"
        unavailable["sched_ext.events"] = why
    everything = _number(files.get("switch_all"))
    return SchedExtState(
        state=state,
        enabled=state == "enabled",
        ops=files.get("ops") if loaded else None,
        switch_all=None if everything is None else bool(everything),
        nr_rejected=_number(files.get("nr_rejected")),
        enable_seq=_number(files.get("enable_seq")),
        events=events,
    )


def _number(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 20:
        return None
    return int(text)


def _events(text: str | None) -> dict[str, int] | None:
    if text is None:
        return None
    events: dict[str, int] = {}
    for line in text.splitlines()[:_COUNTERS]:
        name, _, count = line.partition(" ")
        number = _number(count.strip())
        if number is not None:
            events[name.removeprefix("SCX_EV_").lower()] = number
    return events


class ToldCpu:
    """One CPU as the guest told it.

    :raises WireError: naming the field that is wrong.
    """

    def __init__(self, values: Fields) -> None:
        self.cpu = values.integer("cpu", 0, MAX_CPU)
        self.numbers: dict[str, Any] = {
            name: values.optional(name, values.u64) for name in _NUMBERS
        }
        idle = values.optional("idle", values.u64)
        self.idle = None if idle is None else bool(idle)
        self.comm = _raw(values, "curr_comm", 16)
        self.cpustat = _raw(values, "cpustat", 256)
        self.kstat = _raw(values, "kstat", 256)
        values.done()

    def queue(self, reader: int, unavailable: dict[str, str]) -> CpuSnapshot:
        """The run queue, without the process that read it.

        :param reader: process id of what took the snapshot.
        """
        numbers = dict(self.numbers)
        if numbers["curr_pid"] == reader:
            unavailable[f"cpus.{self.cpu}.curr"] = OWN_PROCESS
            numbers["curr_pid"] = numbers["curr_tgid"] = None
            if numbers["nr_running"]:
                numbers["nr_running"] -= 1
            return CpuSnapshot(self.cpu, **numbers)
        comm = self.comm.decode("utf-8", "backslashreplace")
        return CpuSnapshot(self.cpu, idle=self.idle, curr_comm=comm, **numbers)


def _raw(values: Fields, name: str, most: int) -> bytes:
    found = values.take(name)
    if type(found) is not bytes or len(found) > most:
        values.refuse(name, found, f"at most {most} bytes")
    return found


def cpu_times(
    cpus: Sequence[ToldCpu], stat: str | None, types: GuestTypes, unavailable: dict[str, str]
) -> tuple[PerCpuTime, ...]:
    """Every CPU's accounting; empty, and named in ``unavailable``, when anything of it is missing.

    A time that was not measured must not pass for one of zero.
    """
    try:
        btf = types.kernel()
    except KtstrError as error:
        unavailable["host.cpu_time"] = unavailable["host.interrupts"] = error.message
        return ()
    times = _places(btf, "kernel_cpustat", "cpustat", "CPUTIME_{}", STATES, 8)
    softirqs = _places(btf, "kernel_stat", "softirqs", "{}_SOFTIRQ", SOFTIRQS, 4)
    struct_id = btf.find("kernel_stat", Kind.STRUCT)
    total = None if struct_id is None else btf.field(struct_id, "irqs_sum")
    idle = _idle_times(stat or "")
    found = []
    for told in cpus:
        short = not _holds(told.cpustat, times.values()) or not _holds(
            told.kstat, (*softirqs.values(), *([] if total is None else [total]))
        )
        if short or len(times) < len(STATES) or total is None or not softirqs:
            unavailable["host.cpu_time"] = f"the guest's kernel did not tell CPU {told.cpu}'s times"
            return ()
        found.append(
            PerCpuTime(
                told.cpu,
                hardirqs=_at(told.kstat, total),
                softirqs={name: _at(told.kstat, place) for name, place in softirqs.items()},
                idle_sleeptime_ns=idle.get(told.cpu),
                **{f"{name}_ns": _at(told.cpustat, place) for name, place in times.items()},
            )
        )
    return tuple(found)


def _places(
    btf: Btf, struct: str, member: str, word: str, names: Sequence[str], size: int
) -> dict[str, Field]:
    """By name, the element of an array that an enumerator numbers."""
    struct_id = btf.find(struct, Kind.STRUCT)
    array = None if struct_id is None else btf.field(struct_id, member)
    found: dict[str, Field] = {}
    for name in names if array is not None else ():
        assert array is not None
        number = btf.find_enumerator(word.format(name.upper()))
        if number is not None and 0 <= number[1] < array.size // size:
            found[name] = Field(array.offset + size * number[1], size, array.type_id)
    return found


def _holds(raw: bytes, places: Any) -> bool:
    return all(place.offset + place.size <= len(raw) for place in places)


def _at(raw: bytes, place: Field) -> int:
    return int.from_bytes(raw[place.offset :][: place.size], "little")


def _idle_times(stat: str) -> dict[int, int]:
    """Idle time of each CPU in ns, of ``/proc/stat``'s resolution (proc_stat(5))."""
    found: dict[int, int] = {}
    for line in stat.splitlines():
        name, *words = line.split()[:5] or [""]
        cpu = _number(name.removeprefix("cpu")) if name.startswith("cpu") else None
        idle = _number(words[3]) if len(words) == 4 else None
        if cpu is not None and cpu <= MAX_CPU and idle is not None:
            found[cpu] = idle * _USER_HZ_NS
    return found
