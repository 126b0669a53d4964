# SPDX-License-Identifier: GPL-2.0-only
"""The whole examination, in the order in which a run meets things."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread
import platformdirs

from ktstr.doctor import emulator, host, programs, service
from ktstr.doctor.finding import Finding, Grade
from ktstr.errors import KtstrError
from ktstr.report.printable import one_line
from ktstr.session.room import host_room


async def examine(tell: Callable[[Finding], None]) -> list[Finding]:
    """Look at everything; ``tell`` hears of each finding as it is made.

    What cannot be looked at is a finding as well, never an exception. Nothing is fetched, built or
    changed; a trial guest for KVM is started where the last answer is not known (1 s).
    """
    findings: list[Finding] = []

    def add(finding: Finding) -> None:
        findings.append(finding)
        tell(finding)

    @contextmanager
    def looking(topic: str) -> Iterator[None]:
        try:
            yield
        except (KtstrError, OSError) as error:
            told = one_line(str(error).split("\n")[0])
            add(Finding(topic, Grade.LIMIT, f"cannot be looked at: {told}"))

    room = host_room()
    cache = Path(platformdirs.user_cache_path("ktstr"))
    add(programs.python())
    with looking("QEMU"):
        async for finding in emulator.emulator():
            add(finding)
    for finding in [*host.machine(room), *host.disk(cache), host.load(room.cpus), host.leases()]:
        add(finding)
    with looking("guest tools"):
        add(await anyio.to_thread.run_sync(programs.guest_tools))
    with looking("guest image"):
        async for finding in programs.image():
            add(finding)
    with looking("kernels"):
        add(programs.kernels())
    with looking("kernel tools"):
        add(await programs.kernel_tools())
    for finding in programs.extras():
        add(finding)
    with looking("daemon"):
        add(await anyio.to_thread.run_sync(service.daemon))
    return findings


def verdict(findings: list[Finding]) -> str:
    """The whole in a sentence."""
    gaps = [finding.topic for finding in findings if finding.grade is Grade.GAP]
    limits = [finding.topic for finding in findings if finding.grade is Grade.LIMIT]
    if gaps:
        return f"scenarios cannot run here: {', '.join(gaps)}"
    if limits:
        return f"scenarios run here, with limits: {', '.join(limits)}"
    return "scenarios run here"
