# SPDX-License-Identifier: GPL-2.0-only
"""The BPF maps a kernel holds, found by walking ``map_idr`` (kernel/bpf/syscall.c).

An IDR is an xarray (include/linux/xarray.h): an entry whose two low bits are ``10`` and that is
above 4096 is a node at ``entry - 2``; a leaf slot holds the object's pointer.
"""

import struct
from dataclasses import dataclass, replace

from ktstr.errors import KernelUnfit, KtstrError
from ktstr.introspect.btf import Btf, BtfInvalid, Kind
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import UnreadableMemory

MAX_MAPS = 4096
_MAX_NODES = 8192
_SLOTS = 64
_MAX_DEPTH = 11  # 6 bits of index per level, 64-bit indices

ARRAY, PERCPU_ARRAY, STRUCT_OPS = 2, 6, 26
HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH = 1, 5, 9, 10


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What ``struct bpf_map`` says about one map; sizes in bytes, type names where BTF has them.

    ``error`` is set when the structure could not be read; the sizes are then zero.
    """

    id: int
    name: str
    map_type: int
    type_name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    kva: int
    key_type: str | None = None
    value_type: str | None = None
    btf_kva: int = 0
    key_type_id: int = 0
    value_type_id: int = 0
    vmlinux_value_type_id: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Idr:
    """An IDR's objects by id, and the words that say which objects those are.

    ``words`` is (address, content) of the root pointer and of each node's slots: as long as they
    read the same, the set of objects is the same. ``damage`` says where the walk was cut short.
    """

    objects: dict[int, int]
    words: tuple[tuple[int, bytes], ...]
    damage: str | None = None


def walk_idr(kernel: Kernel, symbol: str, limit: int = MAX_MAPS) -> Idr:
    """Walk an IDR; a damaged branch is left out and reported.

    :raises KernelUnfit: when this kernel has no such IDR.
    :raises UnreadableMemory: when the IDR itself cannot be read.
    """
    address = kernel.symbol(symbol)
    if address is None:
        raise KernelUnfit(f"kernel {kernel.release} has no {symbol}")
    head = kernel.need("idr", "idr_rt.xa_head")
    base = kernel.need("idr", "idr_base")
    shift_at, slots_at = kernel.need("xa_node", "shift"), kernel.need("xa_node", "slots")
    root_word = kernel.read(address + head.offset, 8)
    id_base = kernel.read_unsigned(address + base.offset, base.size)
    objects: dict[int, int] = {}
    words = [(address + head.offset, root_word)]
    damage: str | None = None
    pending = [(int.from_bytes(root_word, "little"), 0, 6 * _MAX_DEPTH)]
    while pending:
        entry, index, above = pending.pop()
        if entry & 3 != 2 or entry <= 4096:
            if entry and not entry & 3:
                objects[id_base + index] = entry
            continue
        node = entry - 2
        if len(words) > _MAX_NODES:
            damage = f"{symbol}: more than {_MAX_NODES} tree nodes"
            break
        try:
            shift = kernel.read_unsigned(node + shift_at.offset, shift_at.size)
            slots = kernel.read(node + slots_at.offset, 8 * _SLOTS)
        except UnreadableMemory as error:
            damage = error.message
            continue
        # Levels only go down and nodes are counted, so a cycle made by corruption ends.
        if shift >= above or len(objects) >= limit:
            damage = f"{symbol}: the tree is damaged or has more than {limit} objects"
            continue
        words.append((node + slots_at.offset, slots))
        for slot, inner in enumerate(struct.unpack(f"<{_SLOTS}Q", slots)):
            if inner:
                pending.append((inner, index + (slot << shift), shift))
    kept = dict(sorted(objects.items())[:limit])
    if len(kept) < len(objects):
        damage = f"{symbol}: more than {limit} objects, the first {limit} are used"
    return Idr(kept, tuple(words), damage)


def list_maps(kernel: Kernel) -> tuple[MapInfo, ...]:
    """Every BPF map of the kernel, by id; at most :data:`MAX_MAPS`.

    :raises KernelUnfit: when this kernel's structures are not as needed.
    :raises UnreadableMemory: when the list itself cannot be read.
    """
    return tuple(read_maps(kernel, walk_idr(kernel, "map_idr")))


def read_maps(kernel: Kernel, idr: Idr) -> list[MapInfo]:
    """Describe the maps of a walked ``map_idr``; an unreadable one carries its error."""
    return [_describe(kernel, map_id, kva) for map_id, kva in idr.objects.items()]


def type_names(kernel: Kernel) -> dict[int, str]:
    """Map type numbers to lowercase names, by the kernel's own enum."""
    return map_type_names(kernel.btf)


def map_type_names(btf: Btf) -> dict[int, str]:
    """As :func:`type_names`, by a kernel's BTF."""
    type_id = btf.find("bpf_map_type", Kind.ENUM)
    if type_id is None:
        return {}
    names = btf.enumerators(btf.type(type_id))
    return {v: n.removeprefix("BPF_MAP_TYPE_").lower() for v, n in names.items()}


def map_btf(kernel: Kernel, info: MapInfo) -> Btf | None:
    """The BTF that describes a map's key and value; ``None`` for maps made without.

    :raises BtfInvalid: when it is malformed.
    :raises UnreadableMemory: when the pointer is wild.
    """
    return kernel.object_btf(info.btf_kva) if info.btf_kva else None


def _describe(kernel: Kernel, map_id: int, kva: int) -> MapInfo:
    try:
        raw = kernel.read(kva, kernel.btf.size(kernel.struct("bpf_map") or 0))
    except KtstrError as error:
        reason = f"struct bpf_map at {kva:#x}: {error.message}"
        return MapInfo(map_id, "", 0, "unreadable", 0, 0, 0, 0, kva, error=reason)

    def number(name: str) -> int:
        place = kernel.field("bpf_map", name)
        return int.from_bytes(raw[place.offset :][: place.size], "little") if place else 0

    name_at = kernel.need("bpf_map", "name")
    name = raw[name_at.offset :][: name_at.size].split(b"\0", 1)[0]
    map_type = number("map_type")
    info = MapInfo(
        id=map_id,
        name=name.decode("ascii", "backslashreplace"),
        map_type=map_type,
        type_name=type_names(kernel).get(map_type, f"type {map_type}"),
        key_size=number("key_size"),
        value_size=number("value_size"),
        max_entries=number("max_entries"),
        flags=number("map_flags"),
        kva=kva,
        btf_kva=number("btf"),
        key_type_id=number("btf_key_type_id"),
        value_type_id=number("btf_value_type_id"),
        vmlinux_value_type_id=number("btf_vmlinux_value_type_id"),
    )
    return _with_types(kernel, info, number("id"))


def _with_types(kernel: Kernel, info: MapInfo, stored_id: int) -> MapInfo:
    if stored_id != info.id:
        reason = f"struct bpf_map at {info.kva:#x} has id {stored_id}, not {info.id}"
        return replace(info, error=reason)
    try:
        btf = map_btf(kernel, info)
        if btf is not None:
            value_id = info.value_type_id
            key_id = info.key_type_id
            return replace(
                info,
                value_type=btf.type(value_id).name or None if value_id else None,
                key_type=btf.type(key_id).name or None if key_id else None,
            )
    except (BtfInvalid, UnreadableMemory):
        pass  # the names are a courtesy; reading the contents reports the same error
    return info
