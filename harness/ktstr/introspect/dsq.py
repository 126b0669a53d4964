# SPDX-License-Identifier: GPL-2.0-only
"""Dispatch queues of sched_ext and who waits in them (kernel/sched/ext.c).

Where they are differs by kernel and is probed by symbol and member: 6.12 has static
``global_dsqs`` and ``dsq_hash``; later kernels keep both in ``struct scx_sched``, then one struct
per node, and a queue per CPU for the bypass mode.
"""

from typing import Final

from ktstr.errors import KtstrError
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.threads import Tasks, task_at
from ktstr.series.dump.parts import BUILTIN, DsqState

MAX_QUEUES: Final = 512
MAX_QUEUED: Final = 1024
_MAX_NODES = 64
_MAX_BUCKETS = 1 << 16
_CURSOR = 1  # SCX_DSQ_LNODE_ITER_CURSOR: an iterator's mark, not a task


def read_queues(kernel: Kernel, tasks: Tasks, unavailable: dict[str, str]) -> tuple[DsqState, ...]:
    """Every queue that can be found; what cannot is named in ``unavailable``."""
    if kernel.struct("scx_dispatch_q") is None:
        unavailable["dsq_states"] = f"kernel {kernel.release} has no sched_ext"
        return ()
    return _Queues(kernel, tasks, unavailable).all()


class _Queues:
    def __init__(self, kernel: Kernel, tasks: Tasks, unavailable: dict[str, str]) -> None:
        self._kernel = kernel
        self._tasks = tasks
        self._unavailable = unavailable
        self._found: list[DsqState] = []
        pointer = kernel.symbol("scx_root")
        self._root = kernel.read_unsigned(pointer, 8) if pointer is not None else 0

    def all(self) -> tuple[DsqState, ...]:
        for name, collect in (
            ("local", self._local),
            ("global", self._global),
            ("bypass", self._bypass),
            ("user", self._user),
        ):
            try:
                collect()
            except KtstrError as error:
                self._unavailable[f"dsq_states.{name}"] = error.message
        return tuple(self._found)

    def _local(self) -> None:
        kernel = self._kernel
        runqueues = kernel.symbol("runqueues")
        place = kernel.need("rq", "scx.local_dsq")
        for cpu in kernel.cpus if runqueues is not None else ():
            address = kernel.percpu(runqueues or 0, cpu) + place.offset
            self._add("local", address, cpu=cpu)

    def _global(self) -> None:
        kernel = self._kernel
        static = kernel.symbol("global_dsqs")
        inner = 0
        if static is not None:
            table = self._word(static)
        else:
            place = kernel.field("scx_sched", "global_dsqs")
            if place is None:
                place = kernel.need("scx_sched", "pnode")
                inner = kernel.need("scx_sched_pnode", "global_dsq").offset
            if not self._root:
                return
            table = self._word(self._root + place.offset)
        count = kernel.symbol("nr_node_ids")
        nodes = 1 if count is None else kernel.read_unsigned(count, 4)
        for node in range(min(nodes, _MAX_NODES) if table else 0):
            pointer = self._word(table + 8 * node)
            if pointer:
                self._add("global", pointer + inner, node=node)

    def _bypass(self) -> None:
        kernel = self._kernel
        runqueues, old = kernel.symbol("runqueues"), kernel.field("rq", "scx.bypass_dsq")
        new = kernel.field("scx_sched_pcpu", "bypass_dsq")
        if old is not None and runqueues is not None:
            base = runqueues + old.offset
        elif new is not None and self._root:
            base = self._word(self._root + kernel.need("scx_sched", "pcpu").offset) + new.offset
        else:
            return
        for cpu in kernel.cpus:
            self._add("bypass", kernel.percpu(base, cpu), cpu=cpu)

    def _user(self) -> None:
        kernel = self._kernel
        table_at = kernel.symbol("dsq_hash")
        if table_at is None:
            if not self._root:
                return
            table_at = self._root + kernel.need("scx_sched", "dsq_hash").offset
        table = self._word(table_at + kernel.need("rhashtable", "tbl").offset)
        if not table:
            return
        size = kernel.read_unsigned(table + kernel.need("bucket_table", "size").offset, 4)
        nest = kernel.read_unsigned(table + kernel.need("bucket_table", "nest").offset, 4)
        if nest or size > _MAX_BUCKETS:
            raise UnreadableMemory(f"the table of queues has {size} buckets in {nest} levels")
        first = table + kernel.need("bucket_table", "buckets").offset
        link = kernel.need("scx_dispatch_q", "hash_node").offset
        for bucket in range(size):
            node = self._word(first + 8 * bucket) & ~1  # the lowest bit locks the bucket
            for _ in range(MAX_QUEUES):
                # The end of a chain is an odd number.
                if not node or node & 1 or len(self._found) >= MAX_QUEUES:
                    break
                self._add("user", node - link)
                node = self._word(node)
        if len(self._found) >= MAX_QUEUES:
            self._unavailable["dsq_states.user"] = f"more than {MAX_QUEUES} queues"

    def _add(
        self, kind: str, address: int, cpu: int | None = None, node: int | None = None
    ) -> None:
        kernel = self._kernel
        number = kernel.need("scx_dispatch_q", "id")
        try:
            dsq_id = kernel.read_unsigned(address + number.offset, number.size)
            length = kernel.read_unsigned(address + kernel.need("scx_dispatch_q", "nr").offset, 4)
            pids, note = self._queued(address)
        except UnreadableMemory as error:
            self._found.append(DsqState(kind, BUILTIN, cpu, node, note=error.message))
            return
        self._found.append(DsqState(kind, dsq_id, cpu, node, length, pids, note))

    def _queued(self, address: int) -> tuple[tuple[int, ...], str | None]:
        kernel = self._kernel
        head = address + kernel.need("scx_dispatch_q", "list").offset
        in_task = kernel.need("task_struct", "scx.dsq_list").offset
        flags = kernel.need("scx_dsq_list_node", "flags")
        pids: list[int] = []
        try:
            node = self._word(head)
            for _ in range(MAX_QUEUED):
                if node == head:
                    return tuple(pids), None
                if not kernel.read_unsigned(node + flags.offset, flags.size) & _CURSOR:
                    task = task_at(kernel, self._tasks, node - in_task)
                    if task is None:
                        return tuple(pids), f"a member at {node:#x} is no task"
                    pids.append(task.pid)
                node = self._word(node)
        except UnreadableMemory as error:
            return tuple(pids), f"the queue is damaged: {error.message}"
        return tuple(pids), f"cut after {MAX_QUEUED} tasks"

    def _word(self, address: int) -> int:
        return self._kernel.read_unsigned(address, 8)
