# SPDX-License-Identifier: GPL-2.0-only
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.errors import HostUnfit
from ktstr.model.topology import Topology
from ktstr.vm.accel import Accelerator
from ktstr.vm.argv import (
    Option,
    Wiring,
    boot_options,
    build_options,
    cpu_options,
    flatten,
    machine_options,
    memory_options,
    shell_command,
    standalone_wiring,
)
from ktstr.vm.spec import VirtualClock, VmSpec

SPEC = VmSpec(
    kernel=Path("/k/vmlinux"),
    initrd=Path("/i/initramfs.cpio"),
    topology=Topology.parse("1n2l2c1t"),
    accel=Accelerator("tcg", "because"),
    pvh=True,
)
WIRING = Wiring(
    ram=("memory-backend-file,mem-path=/proc/self/fd/7,share=on",),
    bulk="socket,fd=8",
    ctl="socket,fd=9",
    console="file,path=/run/console.log",
    monitors=("socket,fd=10",),
)
QBOOT = Path("/usr/share/qemu/qboot.rom")

GOLDEN = """\
-nodefaults
-no-user-config
-display none
-no-reboot
-action panic=pause,shutdown=pause
-machine q35,memory-backend=ram0
-accel tcg,thread=multi
-cpu max,vendor=GenuineIntel
-smp 4,sockets=1,dies=2,cores=2,threads=1
-m 512M
-object memory-backend-file,id=ram0,size=512M,mem-path=/proc/self/fd/7,share=on
-bios /usr/share/qemu/qboot.rom
-kernel /k/vmlinux
-initrd /i/initramfs.cpio
-append console=ttyS0 panic=-1 quiet cryptomgr.notests tsc=reliable no_timer_check @EXTRA@
-chardev file,id=console,path=/run/console.log
-serial chardev:console
-device virtio-serial-pci,id=ports
-chardev socket,id=bulk,fd=8
-device virtserialport,bus=ports.0,nr=1,chardev=bulk,name=ktstr.bulk
-chardev socket,id=ctl,fd=9
-device virtserialport,bus=ports.0,nr=2,chardev=ctl,name=ktstr.ctl
-device vmcoreinfo
-device pvpanic-pci
-chardev socket,id=qmp0,fd=10
-mon chardev=qmp0,mode=control
"""


def text(options: list[Option]) -> str:
    return "".join(" ".join(option) + "\n" for option in options)


def test_whole_command_line() -> None:
    spec = replace(SPEC, cmdline=("@EXTRA@",))
    assert text(build_options(spec, WIRING, QBOOT)) == GOLDEN


def test_a_virtual_clock_changes_these_options_and_no_others() -> None:
    spec = replace(SPEC, cmdline=("@EXTRA@",), virtual=VirtualClock(seed=7, shift=3))
    changed = {
        "-accel tcg,thread=multi": "-accel tcg,thread=single\n-icount shift=3,sleep=off\n"
        "-rtc base=2026-01-01T00:00:00,clock=vm\n-seed 7",
        "-cpu max,vendor=GenuineIntel": "-cpu max,vendor=GenuineIntel,rdrand=off,rdseed=off",
        "no_timer_check @EXTRA@": "no_timer_check nokaslr ktstr.seed=7 @EXTRA@",
        "virtio-serial-pci,id=ports": "virtio-serial-pci,id=ports,ioeventfd=off",
    }
    expected = GOLDEN
    for old, new in changed.items():
        assert expected.count(old) == 1
        expected = expected.replace(old, new)
    assert text(build_options(spec, WIRING, QBOOT)) == expected


def test_kvm() -> None:
    spec = replace(SPEC, accel=Accelerator("kvm", "because"))
    assert ("-accel", "kvm") in machine_options(spec)
    assert boot_options(spec, None)[-1] == (
        "-append",
        "console=ttyS0 panic=-1 quiet cryptomgr.notests",
    )


def test_one_llc_takes_the_plain_model() -> None:
    spec = replace(SPEC, topology=Topology.parse("1n1l2c2t"))
    assert text(cpu_options(spec)) == "-cpu max\n-smp 4,sockets=1,dies=1,cores=2,threads=2\n"


def test_numa_nodes_have_a_backend_each() -> None:
    spec = replace(SPEC, topology=Topology.parse("2n4l1c2t+1m"), memory_mib=1000)
    wiring = replace(WIRING, ram=tuple(f"memory-backend-file,mem-path=/f{n}" for n in range(3)))
    assert ("-machine", "q35") in machine_options(spec)
    assert text(cpu_options(spec)) == (
        "-cpu max,vendor=GenuineIntel\n-smp 8,sockets=2,dies=2,cores=1,threads=2\n"
    )
    assert text(memory_options(spec, wiring)) == (
        "-m 1000M\n"
        "-object memory-backend-file,id=ram0,size=334M,mem-path=/f0\n"
        "-object memory-backend-file,id=ram1,size=333M,mem-path=/f1\n"
        "-object memory-backend-file,id=ram2,size=333M,mem-path=/f2\n"
        "-numa node,nodeid=0,memdev=ram0,cpus=0-3\n"
        "-numa node,nodeid=1,memdev=ram1,cpus=4-7\n"
        "-numa node,nodeid=2,memdev=ram2\n"
    )


def test_explicit_nodes() -> None:
    spec = replace(
        SPEC,
        topology=Topology.parse("1n3l2c1t").with_nodes((1, 2, 0)),
        node_memory_mib=(64, 256, 192),
        node_distances=((10, 21, 31), (21, 10, 41), (31, 41, 10)),
    )
    wiring = replace(WIRING, ram=tuple(f"memory-backend-file,mem-path=/f{n}" for n in range(3)))
    assert text(cpu_options(spec)) == (
        "-cpu max,vendor=GenuineIntel\n-smp 6,sockets=1,dies=3,cores=2,threads=1\n"
    )
    assert text(memory_options(spec, wiring)) == (
        "-m 512M\n"
        "-object memory-backend-file,id=ram0,size=64M,mem-path=/f0\n"
        "-object memory-backend-file,id=ram1,size=256M,mem-path=/f1\n"
        "-object memory-backend-file,id=ram2,size=192M,mem-path=/f2\n"
        "-numa node,nodeid=0,memdev=ram0,cpus=0-1\n"
        "-numa node,nodeid=1,memdev=ram1,cpus=2-5\n"
        "-numa node,nodeid=2,memdev=ram2\n"
        "-numa dist,src=0,dst=0,val=10\n"
        "-numa dist,src=0,dst=1,val=21\n"
        "-numa dist,src=0,dst=2,val=31\n"
        "-numa dist,src=1,dst=0,val=21\n"
        "-numa dist,src=1,dst=1,val=10\n"
        "-numa dist,src=1,dst=2,val=41\n"
        "-numa dist,src=2,dst=0,val=31\n"
        "-numa dist,src=2,dst=1,val=41\n"
        "-numa dist,src=2,dst=2,val=10\n"
    )


@pytest.mark.parametrize("split", [(512,), (256, 255), (512, 0), (200, 200, 112)])
def test_memory_split_that_does_not_fit(split: tuple[int, ...]) -> None:
    spec = replace(SPEC, topology=Topology.parse("2n2l1c1t"), node_memory_mib=split)
    with pytest.raises(HostUnfit, match="does not fit the 2 nodes of topology 2n2l1c1t"):
        spec.memory_of_nodes()


@pytest.mark.parametrize("pvh", [False, True])
def test_qboot_is_the_firmware_wherever_it_exists(pvh: bool) -> None:
    spec = replace(SPEC, pvh=pvh)
    assert str(QBOOT) in flatten(boot_options(spec, QBOOT))
    assert "-bios" not in flatten(boot_options(spec, None))


def test_one_thread_for_all_vcpus() -> None:
    words = flatten(build_options(replace(SPEC, one_thread=True), WIRING, QBOOT))
    assert "tcg,thread=single" in words
    assert "tcg,thread=multi" not in words


def test_without_pvpanic() -> None:
    words = flatten(build_options(replace(SPEC, pvpanic=False), WIRING, QBOOT))
    assert "pvpanic-pci" not in words
    assert "vmcoreinfo" in words


def test_second_monitor_and_gdb() -> None:
    wiring = replace(WIRING, monitors=("socket,fd=3", "socket,path=/s"), gdb="unix:/g,server=on")
    lines = text(build_options(SPEC, wiring, QBOOT))
    assert "-chardev socket,id=qmp1,path=/s\n-mon chardev=qmp1,mode=control\n" in lines
    assert lines.endswith("-gdb unix:/g,server=on\n")


def test_the_stub_for_watches_is_a_connection_that_nothing_listens_on_yet() -> None:
    lines = text(build_options(SPEC, replace(WIRING, watch="socket,fd=11"), QBOOT))
    assert lines.endswith("-chardev socket,id=watch,fd=11\n")
    assert "-gdb" not in lines


def test_command_for_people_names_no_descriptor_and_escapes_commas() -> None:
    wiring = standalone_wiring(SPEC, Path("/runs/a,b"))
    command = shell_command("/usr/bin/qemu", build_options(SPEC, wiring, None))
    assert "fd=" not in command
    assert "/proc/self" not in command
    assert "path=/runs/a,,b/qmp.sock,server=on,wait=off" in command
    assert "'console=ttyS0 panic=-1 quiet" in command
    assert command.startswith("/usr/bin/qemu \\\n  -nodefaults \\\n")
