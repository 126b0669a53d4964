# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's sched_ext state (kernel/sched/ext.c), wherever this kernel keeps it.

6.12 has static ``scx_ops``, ``scx_exit_kind`` and ``scx_exit_info``; later kernels gather them in
``struct scx_sched`` behind ``scx_root``. Event counters came with 6.15 and moved twice. Every
place is probed by symbol and member, never by version.
"""

from dataclasses import dataclass, field

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Field, Kind
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.regions import Builder, Captured, OverLimit, Region
from ktstr.series.snapshot import SchedExtState

_MESSAGE_SIZE = 1024  # SCX_EXIT_MSG_LEN
_GLOBALS: dict[str, tuple[tuple[str, int], ...]] = {
    "state": (("scx_enable_state_var", 4), ("scx_ops_enable_state_var", 4)),
    "switch_all": (("scx_switching_all", 1),),
    "bypass_depth": (("scx_bypass_depth", 4), ("scx_ops_bypass_depth", 4)),
    "nr_rejected": (("scx_nr_rejected", 8),),
    "enable_seq": (("scx_enable_seq", 8),),
    "exit_kind": (("scx_exit_kind", 4),),
    "aborting": (("scx_aborting", 1),),
}
"""Value to the globals that may hold it, with their size in bytes."""
_MEMBERS = {"exit_kind": "exit_kind", "bypass_depth": "bypass_depth", "aborting": "aborting"}
_STATE_ENUMS = ("scx_enable_state", "scx_ops_enable_state")
_NO_SCHEDULER = "no scheduler is loaded"


@dataclass(frozen=True, slots=True)
class SchedExtPlan:
    """Where each value of :class:`SchedExtState` is copied from.

    ``numbers`` maps a value to (region, offset, size); ``events`` is one region per CPU.
    """

    numbers: dict[str, tuple[Region, int, int]] = field(default_factory=dict)
    name: tuple[Region, int, int] | None = None
    message: Region | None = None
    events: tuple[Region, ...] = ()
    event_fields: tuple[tuple[str, int], ...] = ()
    states: dict[int, str] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    watched: tuple[tuple[Region, bytes, str], ...] = ()

    def decode(self, captured: Captured) -> SchedExtState:
        """The state in the copied bytes."""
        values: dict[str, int] = {
            name: captured.unsigned(*place) for name, place in self.numbers.items()
        }
        state = values.get("state")
        kind = values.get("exit_kind")
        text = None if state is None else self.states.get(state, f"unknown ({state})")
        flags = {name: bool(values[name]) for name in ("switch_all", "aborting") if name in values}
        loaded = text != "disabled"
        return SchedExtState(
            state=text,
            enabled=None if text is None else text == "enabled",
            ops=self._text(captured, self.name) if self.name and loaded else None,
            switch_all=flags.get("switch_all"),
            exit_kind=kind,
            exit_name=None if kind is None else self.kinds.get(kind, f"unknown ({kind})"),
            exit_message=self._message(captured) if kind else None,
            aborting=flags.get("aborting"),
            bypass_depth=values.get("bypass_depth"),
            nr_rejected=values.get("nr_rejected"),
            enable_seq=values.get("enable_seq"),
            events=self._events(captured),
        )

    def _text(self, captured: Captured, place: tuple[Region, int, int]) -> str:
        region, offset, size = place
        raw = captured.content(region)[offset : offset + size]
        return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")

    def _message(self, captured: Captured) -> str | None:
        if self.message is None:
            return None
        return self._text(captured, (self.message, 0, self.message.length)) or None

    def _events(self, captured: Captured) -> dict[str, int] | None:
        if not self.events:
            return None
        totals = dict.fromkeys((name for name, _ in self.event_fields), 0)
        for region in self.events:
            raw = captured.content(region)
            for name, offset in self.event_fields:
                totals[name] += int.from_bytes(raw[offset : offset + 8], "little", signed=True)
        return totals


def plan_sched_ext(kernel: Kernel, builder: Builder, unavailable: dict[str, str]) -> SchedExtPlan:
    """Plan the sched_ext state; what this kernel lacks is named in ``unavailable``."""
    return _Planner(kernel, builder, unavailable).plan()


class _Planner:
    def __init__(self, kernel: Kernel, builder: Builder, unavailable: dict[str, str]) -> None:
        self._kernel = kernel
        self._builder = builder
        self._unavailable = unavailable
        self._numbers: dict[str, tuple[Region, int, int]] = {}
        self._watched: list[tuple[Region, bytes, str]] = []

    def plan(self) -> SchedExtPlan:
        kernel = self._kernel
        if not any(kernel.has_symbol(s) for s, _ in _GLOBALS["state"]):
            self._unavailable["sched_ext"] = (
                f"kernel {kernel.release} has no sched_ext (CONFIG_SCHED_CLASS_EXT)"
            )
            return SchedExtPlan()
        root = self._root()
        self._plan_numbers(root)
        region, events = self._events(root)
        return SchedExtPlan(
            numbers=self._numbers,
            name=self._ops_name(root),
            message=self._exit_message(root),
            events=region,
            event_fields=events,
            states=self._enum(_STATE_ENUMS, ("SCX_OPS_", "SCX_")),
            kinds=self._enum(("scx_exit_kind",), ("SCX_EXIT_",)),
            watched=tuple(self._watched),
        )

    def _root(self) -> Region | None:
        """The loaded scheduler's ``struct scx_sched`` of kernels that have one."""
        pointer_at = self._kernel.symbol("scx_root")
        struct_id = self._kernel.struct("scx_sched")
        if pointer_at is None or struct_id is None:
            return None
        watched = self._builder.add(pointer_at, 8)
        raw = self._kernel.read(pointer_at, 8)
        self._watched.append((watched, raw, "another scheduler was loaded or unloaded"))
        pointer = int.from_bytes(raw, "little")
        if not pointer:
            return None
        return self._try("sched_ext.ops", pointer, self._kernel.btf.size(struct_id))

    def _try(self, name: str, address: int, length: int) -> Region | None:
        try:
            return self._builder.add(address, length)
        except (UnreadableMemory, OverLimit) as error:
            self._unavailable[name] = error.message
            return None

    def _plan_numbers(self, root: Region | None) -> None:
        for name, globals_ in _GLOBALS.items():
            found = self._member(name, root)
            for symbol, size in () if found else globals_:
                address = self._kernel.symbol(symbol)
                region = None if address is None else self._try(f"sched_ext.{name}", address, size)
                if region is not None:
                    found = (region, 0, size)
                    break
            if found:
                self._numbers[name] = found
            else:
                self._missing(name, _MEMBERS.get(name), [s for s, _ in globals_])

    def _member(self, name: str, root: Region | None) -> tuple[Region, int, int] | None:
        path = _MEMBERS.get(name)
        place = None if path is None or root is None else self._kernel.field("scx_sched", path)
        return None if place is None or root is None else (root, place.offset, place.size)

    def _missing(self, name: str, member: str | None, symbols: list[str]) -> None:
        if member is not None and self._kernel.has_member("scx_sched", member):
            reason = _NO_SCHEDULER
        else:
            reason = f"kernel {self._kernel.release} has none of {', '.join(symbols)}"
        self._unavailable.setdefault(f"sched_ext.{name}", reason)

    def _ops_name(self, root: Region | None) -> tuple[Region, int, int] | None:
        if root is not None:
            place = self._kernel.field("scx_sched", "ops.name")
            if place is not None:
                return root, place.offset, place.size
        static = self._kernel.symbol("scx_ops")
        place = self._kernel.field("sched_ext_ops", "name")
        if static is not None and place is not None:
            region = self._try("sched_ext.ops", static + place.offset, place.size)
            return None if region is None else (region, 0, place.size)
        known = self._kernel.has_symbol("scx_root")
        reason = _NO_SCHEDULER if known else "this kernel has neither scx_root nor scx_ops"
        self._unavailable.setdefault("sched_ext.ops", reason)
        return None

    def _exit_message(self, root: Region | None) -> Region | None:
        kernel = self._kernel
        place = kernel.field("scx_sched", "exit_info") if root else None
        static = kernel.symbol("scx_exit_info")
        message = kernel.field("scx_exit_info", "msg")
        try:
            if message is None:
                return None
            if root is not None and place is not None:
                info = kernel.read_unsigned(root.address + place.offset, 8)
            elif static is not None:
                info = kernel.read_unsigned(static, 8)
            else:
                return None
            text = kernel.read_unsigned(info + message.offset, 8) if info else 0
            return self._builder.add(text, _MESSAGE_SIZE) if text else None
        except (UnreadableMemory, OverLimit):
            return None  # only ever a supplement of exit_kind

    def _events(
        self, root: Region | None
    ) -> tuple[tuple[Region, ...], tuple[tuple[str, int], ...]]:
        kernel = self._kernel
        struct_id = kernel.struct("scx_event_stats")
        if struct_id is None:
            self._unavailable["sched_ext.events"] = (
                f"kernel {kernel.release} has no event counters (they came with 6.15)"
            )
            return (), ()
        try:
            base = self._events_base(root)
            if base is None:
                return (), ()
            size = kernel.btf.size(struct_id)
            regions = tuple(
                self._builder.add(kernel.percpu(base, cpu), size) for cpu in kernel.cpus
            )
            members = kernel.btf.members(kernel.btf.type(struct_id))
        except KtstrError as error:
            self._unavailable["sched_ext.events"] = error.message
            return (), ()
        return regions, tuple(
            (m.name.removeprefix("SCX_EV_").lower(), m.bit // 8)
            for m in members
            if kernel.btf.size(m.type_id) == 8
        )

    def _events_base(self, root: Region | None) -> int | None:
        """Per-CPU pointer to the counters: newest layout first."""
        kernel = self._kernel
        inner = kernel.field("scx_sched_pcpu", "event_stats")
        places: list[tuple[Field | None, int]] = [
            (kernel.field("scx_sched", "pcpu") if inner else None, inner.offset if inner else 0),
            (kernel.field("scx_sched", "event_stats_cpu"), 0),
        ]
        for place, offset in places:
            if place is None:
                continue
            if root is None:
                self._unavailable.setdefault("sched_ext.events", _NO_SCHEDULER)
                return None
            return kernel.read_unsigned(root.address + place.offset, 8) + offset
        static = kernel.symbol("event_stats_cpu")
        if static is None:
            self._unavailable["sched_ext.events"] = (
                f"kernel {kernel.release} keeps its event counters in an unknown place"
            )
        return static

    def _enum(self, names: tuple[str, ...], prefixes: tuple[str, ...]) -> dict[int, str]:
        for name in names:
            type_id = self._kernel.btf.find(name, Kind.ENUM, Kind.ENUM64)
            if type_id is None:
                continue
            found = self._kernel.btf.enumerators(self._kernel.btf.type(type_id))
            return {value: _bare(label, prefixes) for value, label in found.items()}
        return {}


def _bare(label: str, prefixes: tuple[str, ...]) -> str:
    for prefix in prefixes:
        if label.startswith(prefix):
            return label.removeprefix(prefix).lower()
    return label.lower()
