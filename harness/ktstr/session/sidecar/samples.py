# SPDX-License-Identifier: GPL-2.0-only
"""Frozen captures in a sidecar: what was asked, what was read, and how both went.

Everything of a snapshot is there, its values rendered; of large maps, a part (maps.py).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from ktstr.series.sample import MissingStats, MissingStatsReason, Sample, Trigger
from ktstr.series.snapshot import Snapshot
from ktstr.session.sidecar.maps import maps_record, read_maps
from ktstr.telemetry.decode import Fields
from ktstr.telemetry.slices import MAX_STEP

MAX_TEXT: Final = 1 << 20
_MANY: Final = 1 << 20
_MISSING: Final = {reason.value: reason for reason in MissingStats}
_READINGS: Final = tuple(item.name for item in fields(Snapshot) if item.name != "maps")


@dataclass(frozen=True, slots=True)
class RecordedSnapshot(Snapshot):
    """A snapshot out of a file: its values were rendered when it was written."""


def sample_record(sample: Sample) -> dict[str, Any]:
    """The plain form; without a snapshot, its keys are absent."""
    plain: dict[str, Any] = {
        "tag": sample.tag,
        "elapsed_ms": sample.elapsed_ms,
        "boundary_offset_ms": sample.boundary_offset_ms,
        "step_index": sample.step_index,
        "paused_ns": sample.paused_ns,
        "error": sample.error,
        "stats": None,
        "stats_missing": None,
        "trigger": None if sample.trigger is None else asdict(sample.trigger),
    }
    if isinstance(sample.stats, MissingStatsReason):
        reason = sample.stats
        plain["stats_missing"] = {"reason": reason.kind.value, "detail": reason.detail}
    else:
        plain["stats"] = dict(sample.stats)
    snapshot = sample.snapshot
    if isinstance(snapshot, Snapshot):
        plain |= {name: _plain(getattr(snapshot, name)) for name in _READINGS}
        plain |= maps_record(snapshot)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    to_json = getattr(value, "to_json", None)
    return value if to_json is None else to_json()


def read_sample(values: Fields) -> Sample:
    """Read :func:`sample_record`'s form.

    :raise RecordError: naming the field that is wrong.
    """
    missing = values.map_or_none("stats_missing")
    stats = values.take("stats")
    if (missing is None) is (stats is None):
        values.refuse("stats", stats, "either stats or stats_missing")
    if type(stats) not in (dict, NoneType):
        values.refuse("stats", stats, "a map or null")
    reason = MissingStatsReason(MissingStats.NO_SCHEDULER_BINARY)
    if missing is not None:
        kind = _MISSING[missing.one_of("reason", _MISSING)]
        reason = MissingStatsReason(kind, missing.text("detail", MAX_TEXT))
        missing.done()
    # Records from before there were watches have no such key.
    trigger = values.map_or_none("trigger") if values.has("trigger") else None
    sample = Sample(
        tag=values.text("tag", 255),
        elapsed_ms=values.optional("elapsed_ms", values.u64),
        boundary_offset_ms=values.optional("boundary_offset_ms", values.u64),
        step_index=values.optional("step_index", lambda name: values.integer(name, 0, MAX_STEP)),
        paused_ns=values.optional("paused_ns", values.u64),
        error=values.text_or_none("error", MAX_TEXT),
        stats=stats if isinstance(stats, dict) else reason,
        snapshot=_snapshot(values) if values.has("cpus") else None,
        trigger=None if trigger is None else _instance(Trigger, trigger),
    )
    values.done()
    return sample


def _snapshot(values: Fields) -> RecordedSnapshot:
    hints = get_type_hints(Snapshot)
    readings = {name: _reading(values, name, hints[name]) for name in _READINGS}
    return RecordedSnapshot(**readings, maps=read_maps(values))


def _reading(values: Fields, name: str, hint: Any) -> Any:
    """The field ``name``, when it is what its annotation says."""
    if is_dataclass(hint):
        return _instance(hint, values.nested(name))
    if get_origin(hint) is tuple and is_dataclass(get_args(hint)[0]):
        owner = get_args(hint)[0]
        return tuple(_instance(owner, each) for each in values.maps(name, _MANY))
    value = values.take(name)
    if hint == tuple[int, ...] | None and type(value) is list:
        value = tuple(value)
    if not _fits(value, hint):
        values.refuse(name, value, str(hint))
    return value


def _instance(owner: Any, values: Fields) -> Any:
    hints = get_type_hints(owner)
    found = {item.name: _reading(values, item.name, hints[item.name]) for item in fields(owner)}
    values.done()
    return owner(**found)


def _fits(value: object, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is tuple:
        return type(value) is tuple and all(_fits(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) in (dict, Mapping):
        of_key, of_item = get_args(hint)
        return type(value) is dict and all(
            _fits(key, of_key) and _fits(item, of_item) for key, item in value.items()
        )
    return type(value) is hint
