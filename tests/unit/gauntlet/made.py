# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios, kernels and a host for the tests of gauntlets; nothing boots."""

from pathlib import Path
from typing import Any

from ktstr.errors import KernelLacks, KernelUnfit
from ktstr.gauntlet import plan as plan_module
from ktstr.gauntlet.facts import Facts
from ktstr.gauntlet.host import HostLimits
from ktstr.kernels import Kernel, KernelFeatures
from ktstr.model.gauntlet_def import Constraints
from ktstr.model.topology import Topology

HOST = HostLimits("tcg", 2, 8, 4096)

SCENARIO = """
name = "{name}"
[scheduler]
{scheduler}
[[steps]]
hold = "{hold}"
cgroups = [{{ name = "a", {cpuset} works = [{{ type = "SpinWait", workers = {workers} }}] }}]
{more}
"""


def write(
    folder: Path,
    name: str,
    *,
    scheduler: str = 'bpf = "scx_ktstr"',
    hold: str = "1s",
    cpuset: str = "",
    workers: int = 1,
    more: str = "",
) -> Path:
    """A scenario file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    text = SCENARIO.format(
        name=name, scheduler=scheduler, hold=hold, cpuset=cpuset, workers=workers, more=more
    )
    path.write_text(text)
    return path


class Kernels:
    """Stands in for finding kernels: those called ``old…`` lack sched_ext, ``gone`` is none."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.asked: list[str] = []

    async def __call__(self, spec: str, *, need: Any, progress: Any) -> Kernel:
        self.asked.append(spec)
        progress(f"looking for {spec}", None)
        if spec == "gone":
            raise KernelUnfit("there is no such kernel")
        if spec.startswith("old") and "sched_ext" in need:
            raise KernelLacks(f"{spec} will not do: sched_ext is absent")
        digest = self.digests.get(spec, f"digest of {spec}")
        features = KernelFeatures("6.1", None, True, True, True, True, True, True, None)
        return Kernel(spec, f"release of {spec}", Path("/k"), None, features, digest)

    def install(self, patch: Any) -> "Kernels":
        """Take the place of the real one."""
        patch.setattr(plan_module, "resolve_kernel", self)
        return self


def made_facts(name: str, group: str, topology: Topology, hold_s: float) -> Facts:
    """What is known of a small scenario that asks for nothing."""
    return Facts(
        name,
        group=group,
        kernel="k",
        topology=topology,
        memory_mib=256,
        workload_s=hold_s,
        crowded=False,
        virtual=False,
        flags=(),
        excluded=(),
        constraints=Constraints(),
        needs=frozenset(),
        digest="",
    )
