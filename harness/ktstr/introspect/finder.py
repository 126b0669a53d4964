# SPDX-License-Identifier: GPL-2.0-only
"""drgn types and objects from BTF, built when asked for.

With these finders and kallsyms a drgn program over guest RAM works without debug information:
its own helpers (maps, per-CPU data, cgroups) run unchanged.
"""

from collections.abc import Callable

import drgn

from ktstr.introspect.btf import Btf, BtfInvalid, Kind, Member, Type

GLOBALS = {
    "__per_cpu_offset": "unsigned long [8192]",
    "__cpu_online_mask": "struct cpumask",
    "__cpu_possible_mask": "struct cpumask",
    "btf_idr": "struct idr",
    "cgrp_dfl_root": "struct cgroup_root",
    "init_pid_ns": "struct pid_namespace",
    "init_task": "struct task_struct",
    "init_uts_ns": "struct uts_namespace",
    "jiffies_64": "u64",
    "link_idr": "struct idr",
    "map_idr": "struct idr",
    "prb": "struct printk_ringbuffer *",
    "prog_idr": "struct idr",
    "root_task_group": "struct task_group",
    "scx_enable_state_var": "atomic_t",
    "scx_ops": "struct sched_ext_ops",
    "scx_ops_enable_state_var": "atomic_t",
    "scx_root": "struct scx_sched *",
}
"""Types of globals that BTF does not describe: it has variables for per-CPU data only."""

_KINDS = {
    drgn.TypeKind.INT: (Kind.INT,),
    drgn.TypeKind.BOOL: (Kind.INT,),
    drgn.TypeKind.FLOAT: (Kind.FLOAT,),
    drgn.TypeKind.STRUCT: (Kind.STRUCT,),
    drgn.TypeKind.UNION: (Kind.UNION,),
    drgn.TypeKind.ENUM: (Kind.ENUM, Kind.ENUM64),
    drgn.TypeKind.TYPEDEF: (Kind.TYPEDEF,),
}
_QUALIFIERS = {
    Kind.CONST: drgn.Qualifiers.CONST,
    Kind.VOLATILE: drgn.Qualifiers.VOLATILE,
    Kind.RESTRICT: drgn.Qualifiers.RESTRICT,
}


class DrgnTypes:
    """Turns BTF types into drgn types of one program; member types stay lazy."""

    def __init__(self, prog: drgn.Program, btf: Btf) -> None:
        self._prog = prog
        self._btf = btf
        self._made: dict[int, drgn.Type] = {}

    def type(self, type_id: int) -> drgn.Type:
        """The drgn type of a BTF type id.

        :raises BtfInvalid: when the BTF is malformed there.
        """
        if type_id not in self._made:
            self._made[type_id] = self._make(self._btf.type(type_id))
        return self._made[type_id]

    def find(
        self, prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None
    ) -> drgn.Type | None:
        """drgn's type finder protocol; BTF knows no file names."""
        for kind in kinds if filename is None else ():
            type_id = self._btf.find(name, *_KINDS.get(kind, ()))
            if type_id is not None and self.type(type_id).kind == kind:
                return self.type(type_id)
        return None

    def object(
        self, prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, filename: str | None
    ) -> drgn.Object | None:
        """drgn's object finder protocol: globals, per-CPU variables, enumerators."""
        if flags & drgn.FindObjectFlags.CONSTANT and (found := self._btf.find_enumerator(name)):
            type_id, value = found
            return drgn.Object(prog, self.type(type_id), value)
        if not flags & drgn.FindObjectFlags.VARIABLE:
            return None
        kind: str | drgn.Type | None = GLOBALS.get(name)
        if kind is None:
            variable = self._btf.find(name, Kind.VAR)
            kind = None if variable is None else self.type(self._btf.type(variable).arg)
        if kind is None:
            return None
        try:
            return drgn.Object(prog, kind, address=prog.symbol(name).address)
        except LookupError:
            return None

    def _make(self, head: Type) -> drgn.Type:
        make = _MAKERS.get(head.kind)
        if make is None:
            raise BtfInvalid(f"BTF type {head.id} ({head.kind.name}) is not a C type")
        return make(self, head)

    def _void(self, head: Type) -> drgn.Type:
        return self._prog.void_type()

    def _int(self, head: Type) -> drgn.Type:
        encoding, _, _ = self._btf.encoding(head)
        if encoding & 4:
            return self._prog.bool_type(head.name, head.arg)
        return self._prog.int_type(head.name, head.arg, bool(encoding & 1))

    def _float(self, head: Type) -> drgn.Type:
        return self._prog.float_type(head.name, head.arg)

    def _pointer(self, head: Type) -> drgn.Type:
        return self._prog.pointer_type(self.type(head.arg))

    def _array(self, head: Type) -> drgn.Type:
        element, _, count = self._btf.tail(head, "3I")
        return self._prog.array_type(self.type(element), count)

    def _composite(self, head: Type) -> drgn.Type:
        members = [self._member(member) for member in self._btf.members(head)]
        if head.kind is Kind.STRUCT:
            return self._prog.struct_type(head.name or None, head.arg, members)
        return self._prog.union_type(head.name or None, head.arg, members)

    def _member(self, member: Member) -> drgn.TypeMember:
        make: Callable[[], drgn.Type | drgn.Object]
        if member.width:

            def make() -> drgn.Object:
                kind = self.type(member.type_id)
                return drgn.Object(self._prog, kind, bit_field_size=member.width)
        else:

            def make() -> drgn.Type:
                return self.type(member.type_id)

        return drgn.TypeMember(make, member.name or None, member.bit)

    def _enum(self, head: Type) -> drgn.Type:
        if not head.vlen:
            return self._prog.enum_type(head.name or None)
        base = self._prog.int_type("int" if head.flag else "unsigned int", head.arg, head.flag)
        values = [drgn.TypeEnumerator(n, v) for v, n in self._btf.enumerators(head).items()]
        return self._prog.enum_type(head.name or None, base, values)

    def _forward(self, head: Type) -> drgn.Type:
        return (self._prog.union_type if head.flag else self._prog.struct_type)(head.name)

    def _typedef(self, head: Type) -> drgn.Type:
        return self._prog.typedef_type(head.name, self.type(head.arg))

    def _qualified(self, head: Type) -> drgn.Type:
        inner = self.type(head.arg)
        return inner.qualified(inner.qualifiers | _QUALIFIERS[head.kind])

    def _function(self, head: Type) -> drgn.Type:
        words = self._btf.tail(head, f"{2 * head.vlen}I")
        variadic = head.vlen > 0 and words[-1] == 0
        parameters = [
            drgn.TypeParameter(lambda i=type_id: self.type(i), self._btf.string(name) or None)
            for name, type_id in zip(words[::2], words[1::2], strict=True)
            if type_id
        ]
        return self._prog.function_type(self.type(head.arg), parameters, variadic)

    def _through(self, head: Type) -> drgn.Type:
        return self.type(head.arg)


_MAKERS: dict[Kind, Callable[[DrgnTypes, Type], drgn.Type]] = {
    Kind.VOID: DrgnTypes._void,
    Kind.INT: DrgnTypes._int,
    Kind.FLOAT: DrgnTypes._float,
    Kind.PTR: DrgnTypes._pointer,
    Kind.ARRAY: DrgnTypes._array,
    Kind.STRUCT: DrgnTypes._composite,
    Kind.UNION: DrgnTypes._composite,
    Kind.ENUM: DrgnTypes._enum,
    Kind.ENUM64: DrgnTypes._enum,
    Kind.FWD: DrgnTypes._forward,
    Kind.TYPEDEF: DrgnTypes._typedef,
    Kind.CONST: DrgnTypes._qualified,
    Kind.VOLATILE: DrgnTypes._qualified,
    Kind.RESTRICT: DrgnTypes._qualified,
    Kind.TYPE_TAG: DrgnTypes._through,
    Kind.FUNC_PROTO: DrgnTypes._function,
}
