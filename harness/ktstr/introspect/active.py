# SPDX-License-Identifier: GPL-2.0-only
"""Which BPF maps the attached scheduler uses.

The kernel keeps a copy of the operations it was given (``scx_root->ops``, before 6.16 the static
``scx_ops``). Their function pointers lead into trampolines that one struct_ops map made for itself,
so the map that holds the same pointers is the attached one (kernel/bpf/bpf_struct_ops.c). Its links
name the programs, and each program the maps it was verified with (``bpf_prog_aux.used_maps``).
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Kind
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.maps import STRUCT_OPS, MapInfo
from ktstr.introspect.regions import Builder, Region
from ktstr.series.snapshot import ACTIVE

_OPS = "sched_ext_ops"
_VALUE = "bpf_struct_ops_sched_ext_ops"
_COUNTS = ("funcs_cnt", "links_cnt")
_NO_SCHEDULER = "no scheduler is loaded"
MAX_PROGRAMS = 256
MAX_USED_MAPS = 1024


class NotIdentified(KtstrError):
    """The attached scheduler's maps cannot be told from the others."""


@dataclass(frozen=True, slots=True)
class ActivePlan:
    """What was found while the guest ran.

    :param maps: ids of the maps in use, ascending; ``None`` when they are not known.
    :param watched: what must still read the same at the freeze.
    """

    maps: tuple[int, ...] | None = None
    watched: tuple[tuple[Region, bytes, str], ...] = ()


def plan_active(
    kernel: Kernel, builder: Builder, infos: Sequence[MapInfo], unavailable: dict[str, str]
) -> ActivePlan:
    """Find the maps in use; why they are not known goes into ``unavailable``."""
    watched: list[tuple[Region, bytes, str]] = []
    try:
        return ActivePlan(_find(kernel, builder, infos, watched), tuple(watched))
    except KtstrError as error:
        unavailable[ACTIVE] = error.message
        return ActivePlan(None, tuple(watched))


def _find(
    kernel: Kernel,
    builder: Builder,
    infos: Sequence[MapInfo],
    watched: list[tuple[Region, bytes, str]],
) -> tuple[int, ...]:
    struct_id = kernel.struct(_OPS)
    if struct_id is None:
        raise NotIdentified(f"kernel {kernel.release} has no struct {_OPS}")
    size = kernel.btf.size(struct_id)
    address, static = _kernel_copy(kernel)
    raw = kernel.read(address, size)
    if static:  # of later kernels the pointer to it is watched, with the rest of the state
        watched.append(
            (builder.add(address, size), raw, "another scheduler was loaded or unloaded")
        )
    pointers = _pointers(kernel, raw)
    if not any(pointers.values()):
        raise NotIdentified(_NO_SCHEDULER)
    ours = [info for info in infos if _same_operations(kernel, info, pointers)]
    if len(ours) != 1:
        raise NotIdentified(f"{len(ours)} struct_ops maps hold the attached operations")
    ids = {info.kva: info.id for info in infos}
    used = {ours[0].id, *(ids[kva] for kva in _used_maps(kernel, ours[0].kva) if kva in ids)}
    return tuple(sorted(used))


def _kernel_copy(kernel: Kernel) -> tuple[int, bool]:
    """Address of the operations the kernel works with, and whether it is fixed."""
    root, place = kernel.symbol("scx_root"), kernel.field("scx_sched", "ops")
    if root is not None and place is not None:
        pointer = kernel.read_unsigned(root, 8)
        if not pointer:
            raise NotIdentified(_NO_SCHEDULER)
        return pointer + place.offset, False
    static = kernel.symbol("scx_ops")
    if static is None:
        raise NotIdentified(f"kernel {kernel.release} has neither scx_root nor scx_ops")
    return static, True


def _pointers(kernel: Kernel, raw: bytes) -> dict[int, int]:
    """The operations' function pointers by offset."""
    btf = kernel.btf
    members = btf.members(btf.type(kernel.struct(_OPS) or 0))
    # `priv` is the kernel's own word in a struct_ops, set after the copy was made.
    places = [m.bit // 8 for m in members if m.name != "priv"]
    kinds = [btf.resolve(m.type_id).kind for m in members if m.name != "priv"]
    return {
        at: int.from_bytes(raw[at : at + 8], "little")
        for at, kind in zip(places, kinds, strict=True)
        if kind is Kind.PTR
    }


def _same_operations(kernel: Kernel, info: MapInfo, wanted: Mapping[int, int]) -> bool:
    if info.map_type != STRUCT_OPS or info.error or not info.vmlinux_value_type_id:
        return False
    value = kernel.btf.type(info.vmlinux_value_type_id)
    place = kernel.field(_VALUE, "data")
    if value.name != _VALUE or place is None or info.value_size != kernel.btf.size(value.id):
        return False
    begin = info.kva + kernel.need("bpf_struct_ops_map", "kvalue").offset + place.offset
    held = kernel.read(begin, place.size)
    return any(
        pointer and pointer == int.from_bytes(held[at : at + 8], "little")
        for at, pointer in wanted.items()
    )


def _used_maps(kernel: Kernel, struct_ops: int) -> set[int]:
    """Addresses of the maps that the programs of a struct_ops map were verified with."""
    place = next((p for n in _COUNTS if (p := kernel.field("bpf_struct_ops_map", n))), None)
    links = kernel.need("bpf_struct_ops_map", "links")
    if place is None:
        raise NotIdentified("struct bpf_struct_ops_map does not count its links")
    count = kernel.read_unsigned(struct_ops + place.offset, place.size)
    if count > MAX_PROGRAMS:
        raise NotIdentified(f"a struct_ops map claims {count} programs")
    table = kernel.read_unsigned(struct_ops + links.offset, 8)
    prog_at, aux_at = kernel.need("bpf_link", "prog"), kernel.need("bpf_prog", "aux")
    maps_at = kernel.need("bpf_prog_aux", "used_maps")
    count_at = kernel.need("bpf_prog_aux", "used_map_cnt")
    found: set[int] = set()
    for link in _words(kernel, table, count):
        if not link:
            continue
        program = kernel.read_unsigned(link + prog_at.offset, 8)
        aux = kernel.read_unsigned(program + aux_at.offset, 8)
        used = kernel.read_unsigned(aux + count_at.offset, count_at.size)
        if used > MAX_USED_MAPS:
            raise NotIdentified(f"a program claims {used} maps")
        found.update(_words(kernel, kernel.read_unsigned(aux + maps_at.offset, 8), used))
    return found


def _words(kernel: Kernel, address: int, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}Q", kernel.read(address, 8 * count)) if count else ()
