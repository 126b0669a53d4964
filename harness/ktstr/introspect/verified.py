# SPDX-License-Identifier: GPL-2.0-only
"""What the verifier made of each loaded BPF program, out of ``prog_idr`` (kernel/bpf/syscall.c).

Whoever loaded them: neither the scheduler's own help nor a word from the guest is needed.
"""

from collections.abc import Iterator

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Kind
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.maps import walk_idr
from ktstr.series.programs import MAX_TOLD, NAME_CHARS, VerifiedProgram

_STRUCT_OPS = "struct_ops"


def verified_programs(kernel: Kernel) -> tuple[VerifiedProgram, ...]:
    """Every BPF program of the kernel in the order of loading; at most :data:`MAX_TOLD`.

    One that cannot be read is left out.

    :raises KtstrError: when this kernel's structures are not as needed, or cannot be read.
    """
    kernel.need("bpf_prog", "aux")
    kernel.need("bpf_prog_aux", "name")
    idr = walk_idr(kernel, "prog_idr", MAX_TOLD)
    return tuple(_readable(kernel, list(idr.objects.values())))


def _readable(kernel: Kernel, addresses: list[int]) -> Iterator[VerifiedProgram]:
    kinds = _kinds(kernel)
    for address in addresses:
        try:
            yield _program(kernel, address, kinds)
        except KtstrError:
            continue


def _program(kernel: Kernel, address: int, kinds: dict[int, str]) -> VerifiedProgram:
    aux = _number(kernel, "bpf_prog", "aux", address) or 0
    kind = kinds.get(_number(kernel, "bpf_prog", "type", address) or 0, "")
    return VerifiedProgram(
        name=_full_name(kernel, aux) or _short_name(kernel, aux),
        kind=kind,
        attach=_attach(kernel, address, aux, kind),
        insns=_number(kernel, "bpf_prog", "len", address),
        verified=_number(kernel, "bpf_prog_aux", "verified_insns", aux),
        stack=_number(kernel, "bpf_prog_aux", "stack_depth", aux),
    )


def _number(kernel: Kernel, struct: str, path: str, address: int) -> int | None:
    place = kernel.field(struct, path)
    if place is None:
        return None
    return kernel.read_unsigned(address + place.offset, place.size)


def _kinds(kernel: Kernel) -> dict[int, str]:
    type_id = kernel.btf.find("bpf_prog_type", Kind.ENUM)
    names = {} if type_id is None else kernel.btf.enumerators(kernel.btf.type(type_id))
    return {value: name.removeprefix("BPF_PROG_TYPE_").lower() for value, name in names.items()}


def _short_name(kernel: Kernel, aux: int) -> str:
    place = kernel.need("bpf_prog_aux", "name")
    return _text(kernel.read(aux + place.offset, place.size)) or "(no name)"


def _full_name(kernel: Kernel, aux: int) -> str:
    """The name of the program's first function in its own BTF, as bpftool(8) tells it."""
    table, btf = (_number(kernel, "bpf_prog_aux", name, aux) for name in ("func_info", "btf"))
    place = kernel.field("bpf_func_info", "type_id")
    if not table or not btf or place is None:
        return ""
    try:
        own = kernel.object_btf(btf)
        head = own.type(kernel.read_unsigned(table + place.offset, place.size))
    except KtstrError:
        return ""
    return head.name[:NAME_CHARS] if head.kind is Kind.FUNC else ""


def _attach(kernel: Kernel, address: int, aux: int, kind: str) -> str | None:
    """The operation a struct_ops program is, or the function that another one is attached to."""
    if kind == _STRUCT_OPS:
        struct = _number(kernel, "bpf_prog_aux", "attach_btf_id", aux)
        # Of this type of program it is the member's number in that structure.
        member = _number(kernel, "bpf_prog", "expected_attach_type", address)
        if struct and member is not None:
            head = kernel.btf.type(struct)
            if head.kind is Kind.STRUCT and member < head.vlen:
                return f"{head.name}.{kernel.btf.members(head)[member].name}"
    pointer = _number(kernel, "bpf_prog_aux", "attach_func_name", aux)
    try:
        return _text(kernel.read(pointer, NAME_CHARS)) or None if pointer else None
    except KtstrError:
        return None


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii", "backslashreplace")
