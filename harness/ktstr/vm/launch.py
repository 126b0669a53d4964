# SPDX-License-Identifier: GPL-2.0-only
"""Starting a machine: its memory, its channels, QEMU, and what is left of them at the end."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from ktstr.errors import (
    HostUnfit,
    KernelUnfit,
    QemuDied,
)
from ktstr.vm.argv import (
    Wiring,
    build_options,
    escape,
    flatten,
    shell_command,
    standalone_wiring,
)
from ktstr.vm.freeze import Freezes
from ktstr.vm.machine import BULK_FILE, CONSOLE_LOG, EXIT_GRACE_S, Machine
from ktstr.vm.migration import Incoming, filling, load_state
from ktstr.vm.process import spawn
from ktstr.vm.qemu import Qemu, find_qemu
from ktstr.vm.qmp import Monitor
from ktstr.vm.ram import MIB, GuestRam
from ktstr.vm.sockets import attach_sockets, server, socket_pair
from ktstr.vm.spec import VmSpec, check_host
from ktstr.vm.still_clock import preloaded, still_clock


@asynccontextmanager
async def launch(
    spec: VmSpec,
    run_dir: Path,
    *,
    attach: bool = False,
    qemu: Qemu | None = None,
    incoming: Incoming | None = None,
) -> AsyncIterator[Machine]:
    """Start a machine; QEMU, its sockets and its memory are gone when the block is left.

    The vCPUs do not run before QMP is connected, so that no event is missed.

    :param run_dir: existing folder for the console log and QEMU's messages.
    :param attach: also offer Unix sockets for people: a QMP monitor, the console, a gdb stub. QEMU
        has one stub: a machine with ``spec.watch`` keeps it for itself.
    :param incoming: continue from saved RAM and devices of a machine with the same ``spec``. It
        then stands still until the caller lets it run (:meth:`Machine.cont`), and a console log
        that is in ``run_dir`` already is continued.
    :raises HostUnfit: QEMU is missing, memory is short, or QEMU refused its command line.
    :raises KernelUnfit: kernel or initramfs is not a readable file.
    :raises QemuDied: QEMU was killed, or did not come up in time.
    :raises StateUnusable: ``incoming`` is damaged or does not fit this machine.
    """
    qemu = qemu or find_qemu()
    for file, what in ((spec.kernel, "kernel"), (spec.initrd, "initramfs")):
        if file is not None and not file.is_file():
            raise KernelUnfit(f"the {what} {file} is not a file", hint="check the path")
    check_host(spec)

    async with AsyncExitStack() as stack:
        ram = stack.enter_context(GuestRam([mib * MIB for mib in spec.memory_of_nodes()]))
        bulk, bulk_theirs = socket_pair(stack)
        ctl, ctl_theirs = socket_pair(stack)
        qmp, qmp_theirs = socket_pair(stack)
        debug, debug_theirs = socket_pair(stack) if spec.watch else (None, None)
        gdb = spec.debug and not spec.watch
        sockets = attach_sockets(stack, run_dir, gdb=gdb) if attach else {}
        state, state_theirs = socket_pair(stack) if incoming else (None, None)
        console = f"file,path={escape(run_dir / CONSOLE_LOG)},append=on"
        if "console" in sockets:
            log = escape(run_dir / CONSOLE_LOG)
            console = f"{server(sockets['console'])},logfile={log},logappend=on"
        bulk_to, ctl_to = f"socket,fd={bulk_theirs.fileno()}", f"socket,fd={ctl_theirs.fileno()}"
        if spec.virtual is not None:
            # A socket can be full for as long as the host is busy, and the guest would notice.
            bulk_to, ctl_to = f"file,path={escape(run_dir / BULK_FILE)}", "null"
        wiring = Wiring(
            ram=tuple(
                f"memory-backend-file,mem-path=/proc/self/fd/{fd},share=on" for fd in ram.fds
            ),
            bulk=bulk_to,
            ctl=ctl_to,
            console=console,
            monitors=(
                f"socket,fd={qmp_theirs.fileno()}",
                *([server(sockets["qmp"])] if "qmp" in sockets else []),
            ),
            gdb=f"unix:{sockets['gdb']},server=on,wait=off" if "gdb" in sockets else None,
            watch=None if debug_theirs is None else f"socket,fd={debug_theirs.fileno()}",
        )
        options = [*qemu.options(), *build_options(spec, wiring, qemu.qboot)]
        paused = ("-S",) if incoming is None else ("-S", "-incoming", "defer")
        argv = (str(qemu.program), *flatten(options), *paused)
        standalone = standalone_wiring(spec, run_dir)
        shown = [*qemu.options(), *build_options(spec, standalone, qemu.qboot)]
        command = shell_command(str(qemu.program), shown)
        (run_dir / CONSOLE_LOG).open("wb" if incoming is None else "ab").close()
        if spec.virtual is not None:
            (run_dir / BULK_FILE).write_bytes(b"")

        machine = Machine(spec, argv, command, ram, bulk, ctl, run_dir, sockets)
        machine._debug_socket = debug
        machine.bulk_file = run_dir / BULK_FILE if spec.virtual else None
        made = (bulk_theirs, ctl_theirs, qmp_theirs, debug_theirs, state_theirs)
        theirs = [end for end in made if end]
        started = argv
        if spec.virtual is not None:
            started = preloaded(argv, await anyio.to_thread.run_sync(still_clock))
        child = spawn(
            started,
            fds=[*ram.fds, *(end.fileno() for end in theirs)],
            output=machine.qemu_log,
            on_exit=machine._exited,
        )
        stack.callback(child.close)
        machine._child = child
        state_fd = -1 if state_theirs is None else state_theirs.fileno()
        for end in theirs:
            end.close()
        machine._freezes = Freezes(child)
        monitor = Monitor(qmp, machine._receive)
        machine._monitor = monitor
        stack.push_async_callback(_tear_down, machine, monitor)
        if incoming is None or state is None:
            await _connect(machine, monitor)
            await machine.cont()
        else:
            # QEMU does not touch the RAM before it is told where the devices' state comes from.
            async with filling(ram, incoming) as filled:
                await _connect(machine, monitor)
                await filled()
                await load_state(machine, state, state_fd, incoming.state)
        yield machine


async def _connect(machine: Machine, monitor: Monitor) -> None:
    """Connect to QEMU, whose vCPUs do not run yet.

    :raises HostUnfit: QEMU refused to start.
    :raises QemuDied: it was killed or hangs.
    """
    try:
        await monitor.connect()
    except QemuDied as error:
        await machine._running_child().wait(EXIT_GRACE_S)
        end = machine.end
        if end is None:
            raise
        if end.status is not None and end.status > 0:
            said = "".join(f"\n  qemu: {line}" for line in end.stderr)
            raise HostUnfit(f"QEMU refused to start this machine{said}") from error
        raise end.as_error() from error


async def _tear_down(machine: Machine, monitor: Monitor) -> None:
    with anyio.CancelScope(shield=True):
        if machine._debugger is not None:
            machine._debugger.close()
        await machine.quit()
        await monitor.close()
