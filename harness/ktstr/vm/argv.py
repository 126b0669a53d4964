# SPDX-License-Identifier: GPL-2.0-only
"""The QEMU command line, built by small pure functions.

Each returns options as tuples, ``("-opt", "value")`` or ``("-opt",)``. What a machine *is* comes
from :class:`VmSpec`; how it is *connected* from :class:`Wiring`, so that one machine can be started
with inherited descriptors and shown to people with paths they can paste.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktstr.model.topology import format_cpulist
from ktstr.vm.spec import VmSpec, sockets_and_dies

Option = tuple[str, ...]

BULK_PORT = "ktstr.bulk"
"""Name of the guest-to-host port."""

CTL_PORT = "ktstr.ctl"
"""Name of the host-to-guest port."""

BASE_CMDLINE = ("console=ttyS0", "panic=-1", "quiet", "cryptomgr.notests")
"""Kernel arguments of every guest: log on the serial port, reset at once after a panic, and no
crypto self-tests (0.6 of 1.6 billion instructions to boot Debian's 7.2 cloud kernel)."""

TCG_CMDLINE = ("tsc=reliable", "no_timer_check")
"""Kernel arguments under TCG, where a busy host looks like broken timers.

All vCPUs' TSCs are one host clock, but the clocksource watchdog takes a late read for a drifting
TSC, and its fallback patches code under running vCPUs, which QEMU before 8.1 does not always
survive (oops in int3). A timer interrupt that comes late in the boot's timer check ends in "IO-APIC
+ timer doesn't work!" (seen in 4 of 12 boots at a load of 5 per core)."""

VIRTUAL_EPOCH = "2026-01-01T00:00:00"
"""What the real-time clock of a guest with a virtual clock shows at its start (UTC)."""

SCRATCH_SERIAL = "ktstr-scratch"
"""Serial number of the disk that workers may write to (guest/worker/scratch.h)."""


WATCH_CHARDEV = "watch"
"""Name inside QEMU of the connection that its gdb stub gets when watches are set."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where a machine's channels and memory lead, each as the text QEMU wants.

    :param ram: per NUMA node, a memory backend without ``id`` and ``size``.
    :param bulk: chardev of the guest-to-host port, backend and options without ``id``.
    :param ctl: chardev of the host-to-guest port.
    :param console: chardev of the serial port.
    :param monitors: one chardev per QMP monitor.
    :param gdb: device of a gdb stub for people, or ``None`` for no stub.
    :param watch: chardev for the stub that sets watches, or ``None`` for no watches.
    """

    ram: tuple[str, ...]
    bulk: str
    ctl: str
    console: str
    monitors: tuple[str, ...]
    gdb: str | None = None
    watch: str | None = None


def machine_options(spec: VmSpec) -> list[Option]:
    """Machine type, accelerator, and what happens when the guest ends: it stays readable."""
    backend = "" if spec.topology.nodes > 1 else ",memory-backend=ram0"
    threads = "single" if spec.one_thread or spec.virtual else "multi"
    accel = f"tcg,thread={threads}" if spec.accel.name == "tcg" else "kvm"
    return [
        ("-nodefaults",),
        ("-no-user-config",),
        ("-display", "none"),
        ("-no-reboot",),
        ("-action", "panic=pause,shutdown=pause"),
        ("-machine", f"q35{backend}"),
        ("-accel", accel),
        *clock_options(spec),
    ]


def clock_options(spec: VmSpec) -> list[Option]:
    """What makes time and QEMU's random numbers functions of the instructions executed."""
    if spec.virtual is None:
        return []
    return [
        # Without sleep=off the virtual clock of an idle guest waits for the host's.
        ("-icount", f"shift={spec.virtual.shift},sleep=off"),
        ("-rtc", f"base={VIRTUAL_EPOCH},clock=vm"),
        ("-seed", str(spec.virtual.seed)),
    ]


def cpu_options(spec: VmSpec) -> list[Option]:
    """CPU model and topology.

    With more than one LLC the vendor is Intel's: only then does QEMU 7.2 give each die an L3 of
    its own (CPUID leaf 4), and unlike a named Intel model, ``max`` asks TCG for nothing it lacks.
    """
    topology = spec.topology
    sockets, dies = sockets_and_dies(topology)
    model = "max,vendor=GenuineIntel" if topology.llcs > 1 else "max"
    if spec.virtual is not None:
        # Both draw on the host.
        model += ",rdrand=off,rdseed=off"
    smp = (
        f"{topology.cpus},sockets={sockets},dies={dies},"
        f"cores={topology.cores_per_llc},threads={topology.threads_per_core}"
    )
    return [("-cpu", model), ("-smp", smp)]


def memory_options(spec: VmSpec, wiring: Wiring) -> list[Option]:
    """RAM: one shared backend per NUMA node, in node order, and how far the nodes are apart."""
    options: list[Option] = [("-m", f"{spec.memory_mib}M")]
    split = spec.memory_of_nodes()
    for node, (backend, size) in enumerate(zip(wiring.ram, split, strict=True)):
        kind, _, rest = backend.partition(",")
        options.append(("-object", f"{kind},id=ram{node},size={size}M,{rest}"))
    if spec.topology.nodes > 1:
        for node in range(spec.topology.nodes):
            # QEMU takes several cpus= ranges, but a node's CPUs are one range by construction.
            cpus = format_cpulist(spec.topology.node_cpus(node))
            own = f",cpus={cpus}" if cpus else ""
            options.append(("-numa", f"node,nodeid={node},memdev=ram{node}{own}"))
    for here, row in enumerate(spec.node_distances or ()):
        for there, distance in enumerate(row):
            options.append(("-numa", f"dist,src={here},dst={there},val={distance}"))
    return options


def boot_options(spec: VmSpec, qboot: Path | None) -> list[Option]:
    """Kernel, initramfs, command line; qboot instead of SeaBIOS where it exists.

    qboot is faster, for a bzImage too. And SeaBIOS reads CPUID leaf 0x1f with a subleaf that makes
    QEMU 10.0 abort when the vendor is Intel's (target/i386/cpu.c, encode_topo_cpuid1f).
    """
    options: list[Option] = []
    tuning = TCG_CMDLINE if spec.accel.name == "tcg" else ()
    clock = spec.virtual
    virtual = () if clock is None else ("nokaslr", f"ktstr.seed={clock.seed}")
    if qboot is not None:
        options.append(("-bios", str(qboot)))
    if spec.kernel is None:
        return options
    return [
        *options,
        ("-kernel", str(spec.kernel)),
        ("-initrd", str(spec.initrd)),
        ("-append", " ".join((*BASE_CMDLINE, *tuning, *virtual, *spec.cmdline))),
    ]


def channel_options(spec: VmSpec, wiring: Wiring) -> list[Option]:
    """The two ports between guest and host, and the serial console."""
    # With an eventfd the device would act when QEMU's main loop comes to it.
    bus = "virtio-serial-pci,id=ports" + (",ioeventfd=off" if spec.virtual else "")
    return [
        ("-chardev", _chardev("console", wiring.console)),
        ("-serial", "chardev:console"),
        ("-device", bus),
        ("-chardev", _chardev("bulk", wiring.bulk)),
        ("-device", f"virtserialport,bus=ports.0,nr=1,chardev=bulk,name={BULK_PORT}"),
        ("-chardev", _chardev("ctl", wiring.ctl)),
        ("-device", f"virtserialport,bus=ports.0,nr=2,chardev=ctl,name={CTL_PORT}"),
    ]


def disk_options(spec: VmSpec) -> list[Option]:
    """The scratch disk: real requests and interrupts, but no data, so nothing on the host.

    NVMe, whose driver Debian's cloud kernels have built in; that of virtio-blk is a module. The
    worker knows the disk by its serial number (guest/worker/scratch.h).
    """
    if not spec.scratch_mib:
        return []
    size = spec.scratch_mib << 20
    return [
        ("-blockdev", f"null-co,node-name=scratch,size={size},read-zeroes=on"),
        ("-device", f"nvme,drive=scratch,serial={SCRATCH_SERIAL}"),
    ]


def inspection_options(spec: VmSpec, wiring: Wiring) -> list[Option]:
    """What lets the host look in: vmcoreinfo, pvpanic, QMP monitors, a gdb stub."""
    options: list[Option] = [("-device", "vmcoreinfo")]
    if spec.pvpanic:
        options.append(("-device", "pvpanic-pci"))
    for number, chardev in enumerate(wiring.monitors):
        options.append(("-chardev", _chardev(f"qmp{number}", chardev)))
        options.append(("-mon", f"chardev=qmp{number},mode=control"))
    if wiring.gdb is not None:
        options.append(("-gdb", wiring.gdb))
    if wiring.watch is not None:
        options.append(("-chardev", _chardev(WATCH_CHARDEV, wiring.watch)))
    return options


def build_options(spec: VmSpec, wiring: Wiring, qboot: Path | None) -> list[Option]:
    """All options of a machine, in the order they are passed.

    :param qboot: path of qboot.rom when this host has it.
    :raises HostUnfit: when the memory split does not fit the topology.
    """
    return [
        *machine_options(spec),
        *cpu_options(spec),
        *memory_options(spec, wiring),
        *boot_options(spec, qboot),
        *channel_options(spec, wiring),
        *disk_options(spec),
        *inspection_options(spec, wiring),
    ]


def flatten(options: Iterable[Option]) -> list[str]:
    """Options as the words of an argument vector."""
    return [word for option in options for word in option]


def shell_command(program: str, options: Sequence[Option]) -> str:
    """One pasteable command, one option per line."""
    lines = [shlex.quote(program), *(shlex.join(option) for option in options)]
    return " \\\n  ".join(lines)


def standalone_wiring(spec: VmSpec, run_dir: Path) -> Wiring:
    """Wiring that needs nothing from the harness, for the command shown to people.

    Memory is QEMU's own, QMP and the ports are sockets under ``run_dir``, and the console is the
    terminal.
    """

    def server(name: str) -> str:
        return f"socket,path={escape(run_dir / name)},server=on,wait=off"

    return Wiring(
        ram=("memory-backend-memfd,share=on",) * spec.topology.nodes,
        bulk=server("bulk.sock"),
        ctl=server("ctl.sock"),
        console="stdio",
        monitors=(server("qmp.sock"),),
    )


def escape(path: Path) -> str:
    """A path as a value inside an option: QEMU wants commas doubled."""
    return str(path).replace(",", ",,")


def _chardev(name: str, backend: str) -> str:
    kind, comma, rest = backend.partition(",")
    return f"{kind},id={name}{comma}{rest}"
