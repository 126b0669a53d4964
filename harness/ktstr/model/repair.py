# SPDX-License-Identifier: GPL-2.0-only
"""Puts stand-ins where a scenario cannot be read, so that the rest of it can still be judged.

A wrong value must neither hide a mistake elsewhere nor invent one. Each stand-in is therefore
chosen to break no rule by itself, and what would follow from it is left unsaid: a cgroup that an
unreadable op might have created is not called unknown.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from ktstr.model.locate import KeyPath
from ktstr.model.numa import LOCAL_DISTANCE
from ktstr.model.op_models import MAX_OPS, OPS
from ktstr.model.source import Unknown, child
from ktstr.model.workspec import DEADLINE_KEYS

_LONG_HOLD: Final = "1440m"
"""No fault's ``at`` lies behind it."""

_FIRST_FORM: Final = {"bpf": "scx_ktstr"}
_NODE_MEMORY: Final = "128M"

_OP_STAND_INS: Final = {
    "affinity": "inherit",
    "weight": 100,
    "work": {"type": "SpinWait"},
    "scheduler": _FIRST_FORM,
    "value": 0,
    "command": "unreadable",
}
_COMPARISON: Final = {
    "metric": "unreadable",
    "phase": "Step[0]",
    "against": "baseline",
    "better": True,
}
_FIGURE: Final = {"var": "unreadable", "pattern": "each", "at_least": 0}
_ELEMENT_STAND_INS: Final = {
    "works": {"type": "SpinWait"},
    "exclude": "max-cpu",
    "kernel_features": "btf",
    "across": _COMPARISON,
    "temporal": _FIGURE,
}


@dataclass(slots=True)
class Repair:
    """A scenario's data with stand-ins.

    :ivar muted: key paths about which a rule would only be judging a stand-in.
    """

    data: dict[str, Any]
    muted: list[KeyPath]
    unknown: Unknown = field(default_factory=Unknown)
    _names: int = 0

    def fresh_name(self) -> str:
        """A name that nobody else has; every kind of name may be so."""
        self._names += 1
        return f"unreadable_by_ktstr_{self._names}"


def repair(data: dict[str, Any], spoilt: list[KeyPath]) -> Repair:
    """Replace or drop what stands at the spoilt paths of a scenario's raw data."""
    result = Repair(deepcopy(data), list(spoilt))
    # From the outside in: what is inside something replaced is gone with it.
    for at in sorted(spoilt, key=len):
        holder: object = result.data
        for part in at[:-1]:
            holder = child(holder, part)
        if at and isinstance(holder, dict | list):
            _mend(result, holder, at)
    return result


def _mend(result: Repair, holder: dict[Any, Any] | list[Any], at: KeyPath) -> None:
    key = at[-1]
    if isinstance(holder, list):
        assert isinstance(key, int)
        _mend_element(result, holder, key, at)
        return
    was = holder.pop(key, None)
    inside = _kind_of_table(at)
    match inside, key:
        case "scenario", "name":
            holder["name"] = result.fresh_name()
        case "scenario", "steps":
            holder["steps"] = [_unknown_step(result)]
        case "scenario", "backdrop":
            _unknown_cgroups(result)
        case "scenario", "vm":
            result.unknown.topology = True
        case "scenario", "run":
            result.unknown.times = True
        case "scenario", "scheduler":
            holder["scheduler"] = dict(_FIRST_FORM)
            result.unknown.scheduler = True
        case "vm", "topology" | "numa":
            result.unknown.topology = True
            result.muted.append(("vm", "memory" if key == "numa" else "topology"))
        case "numa", _:
            _unknown_node(result, divided=key != "llcs")
            if key == "memory":
                holder["memory"] = _NODE_MEMORY
        case "gauntlet", _:
            axis = str(key).partition("_")[2]
            result.muted += [("gauntlet", f"{end}_{axis}") for end in ("min", "max")]
        case "run", "duration":
            result.unknown.times = True
        case "scheduler", "bpf":
            holder.update(_FIRST_FORM)
            result.unknown.scheduler = True
        case _, _ if "known_flags" in at[-3:]:
            result.muted += [("scheduler", "flags"), ("scheduler", "known_flags")]
            if key == "args":
                holder["args"] = ["unreadable"]
        case "scheduler", "binary" | "kernel_default":
            result.muted.append(at[:-1])
            result.unknown.scheduler = True
            if not any(holder.get(form) for form in ("bpf", "binary", "kernel_default")):
                holder.update(_FIRST_FORM)
        case "step", "name":
            holder["name"] = result.fresh_name()
            result.unknown.steps = True
        case "step", "hold":
            _unknown_hold(result, holder, was, at)
        case "step" | "backdrop", "ops" | "cgroups":
            _unknown_cgroups(result)
        case "cgroup", "name":
            holder["name"] = result.fresh_name()
            result.unknown.cgroups = True
        case "cgroup", "cpuset":
            result.unknown.cpusets = True
        case "work", _:
            _mend_work(result, holder, key, at)
        case "params", _:
            # The size of a group of workers can hang on a parameter.
            result.muted.append((*at[:-2], "workers"))
        case "across", "metric" | "phase" | "against":
            holder[key] = _COMPARISON[str(key)]
            result.muted.append(at[:-1])
        case "temporal", "pattern":
            holder["pattern"] = _FIGURE["pattern"]
            result.muted.append(at[:-1])
        case "across" | "temporal", _:
            result.muted.append(at[:-1])
        case "over", _:
            result.muted.append(at[:-2])
        case "op", _:
            _mend_op(result, holder, key, at)


def _mend_element(result: Repair, holder: list[Any], index: int, at: KeyPath) -> None:
    match at[-2]:
        case "steps":
            holder[index] = _unknown_step(result)
        case "cgroups":
            _unknown_cgroups(result)
            holder[index] = {"name": result.fresh_name()}
        case "ops":
            _unknown_op(result, at)
            holder[index] = {"op": "AddCgroup", "cgroup": result.fresh_name()}
        case "numa":
            _unknown_node(result, divided=False)
            holder[index] = {"memory": _NODE_MEMORY}
        case "distances":
            _unknown_node(result, divided=True)
            holder[index] = LOCAL_DISTANCE
        case name:
            # A word of a command line, a file, a flag: whatever it names is not judged.
            result.muted.append(at)
            holder[index] = deepcopy(_ELEMENT_STAND_INS.get(str(name), "unreadable"))


def _mend_work(result: Repair, work: dict[Any, Any], key: str | int, at: KeyPath) -> None:
    if key == "type":
        work["type"] = "SpinWait"  # takes any number of workers
        work.pop("params", None)
        about_type = ("workers", "params", "clone", "command", "python", "args")
        result.muted += [(*at[:-1], name) for name in about_type]
    elif key in ("command", "python"):
        result.muted.append((*at[:-1], "command"))  # where both are missing
    elif key == "policy":
        for name in ("rt_prio", *DEADLINE_KEYS):
            work.pop(name, None)
    elif key == "params":
        result.muted.append((*at[:-1], "workers"))


def _mend_op(result: Repair, op: dict[Any, Any], key: str | int, at: KeyPath) -> None:
    kind = OPS.get(op.get("op", ""))
    if kind is None:  # the key is "op" itself
        op.clear()
        op.update(op="AddCgroup", cgroup=result.fresh_name())
        _unknown_op(result, at[:-1])
    elif key in ("cpuset", "works", "scheduler") and not kind.model_fields[key].is_required():
        # A cgroup with less than it should have, or another scheduler than was meant.
        _unknown_cgroups(result)
    elif key in ("symbol", "variable", "section"):
        result.muted += [(*at[:-1], name) for name in ("symbol", "section")]
    elif key not in kind.model_fields or not kind.model_fields[str(key)].is_required():
        return
    elif key == "cpuset":
        op["op"] = "ClearCpuset"
        result.unknown.cpusets = True
    elif key == "fault":
        op["fault"] = "kernel-panic"
        op.pop("cgroup", None)
        op.pop("size", None)
    elif key in _OP_STAND_INS:
        result.muted.append(at)
        op[key] = deepcopy(_OP_STAND_INS[str(key)])
    else:  # a name: of a cgroup, a payload, a snapshot, a variable
        op[key] = result.fresh_name()
        _unknown_cgroups(result)


def _kind_of_table(at: KeyPath) -> str:
    """Which of the scenario's tables holds the key at a path."""
    holders = [part for part in at[:-1] if isinstance(part, str)]
    if not holders:
        return "scenario"
    singular = {"steps": "step", "cgroups": "cgroup", "works": "work", "ops": "op"}
    return singular.get(holders[-1], holders[-1])


def _unknown_hold(result: Repair, step: dict[Any, Any], was: object, at: KeyPath) -> None:
    result.unknown.times = True
    looping = isinstance(was, dict) and "loop" in was
    step["hold"] = {"loop": _LONG_HOLD} if looping else _LONG_HOLD
    steps = result.data.get("steps")
    if not looping and isinstance(steps, list) and at[1] == len(steps) - 1:
        # It may have been a loop, whose ops find the step's cgroups set up.
        _unknown_cgroups(result)


def _unknown_step(result: Repair) -> dict[str, Any]:
    result.unknown.times = result.unknown.steps = True
    _unknown_cgroups(result)
    return {"hold": _LONG_HOLD}


def _unknown_cgroups(result: Repair) -> None:
    unknown = result.unknown
    unknown.cgroups = unknown.cpusets = unknown.history = True


def _unknown_node(result: Repair, *, divided: bool) -> None:
    # What the nodes say together, memory in total and distances both ways, hangs on every one.
    result.unknown.topology |= not divided
    result.muted += [("vm", "numa"), ("vm", "memory")]


def _unknown_op(result: Repair, at: KeyPath) -> None:
    _unknown_cgroups(result)
    # It may be the Pause or the Resume that another op of the list needs.
    result.muted += [(*at[:-1], index, "op") for index in range(MAX_OPS)]
