# SPDX-License-Identifier: GPL-2.0-only
"""A whole scenario, put together call by call; no call changes what it is called on."""

from collections.abc import Sequence
from typing import Any, Self, Unpack

from ktstr.model.scenario import Scenario, scenario_from_data
from ktstr.model.topology import Topology
from ktstr.scenario.keys import (
    CheckKeys,
    Clock,
    CompareKeys,
    Duration,
    GauntletKeys,
    RunKeys,
    SchedulerKeys,
    TemporalKeys,
)
from ktstr.scenario.part import Part
from ktstr.scenario.parts import Cgroup, Hold, Node, Op
from ktstr.scenario.toml import toml_text


class ScenarioBuilder(Part):
    """A scenario so far; made by :func:`scenario`.

    Mistakes are told by :meth:`model` and :meth:`to_toml`, all at once, with the words that were
    given here. Relative paths start at the working directory.
    """

    __slots__ = ()

    def describe(self, text: str) -> Self:
        """Say what it is for; goes into the record."""
        return self.with_keys(description=text)

    def kernel(self, spec: str) -> Self:
        """Choose the kernel."""
        return self.with_keys(kernel=spec)

    def topology(self, topology: str | Topology) -> Self:
        """Choose the CPUs: ``NnNlNcNt``, a preset's name, or a topology."""
        return self._with_table("vm", topology=str(topology))

    def memory(self, size: str) -> Self:
        """Choose the guest's memory, ``"512M"`` and the like."""
        return self._with_table("vm", memory=size)

    def scratch_disk(self, size: str) -> Self:
        """Give it an NVMe disk of that size for the ``Io…`` types."""
        return self._with_table("vm", scratch_disk=size)

    def clock(self, clock: Clock) -> Self:
        """Choose the clock the guest lives by."""
        return self._with_table("run", clock=clock)

    def numa_nodes(self, *nodes: Node) -> Self:
        """Give the NUMA nodes one by one, in the place of what was given before."""
        return self._with_table("vm", numa=nodes or None)

    def scheduler(self, **keys: Unpack[SchedulerKeys]) -> Self:
        """Choose the scheduler; what an earlier call said is replaced."""
        return self.with_keys(scheduler=Part.of(**keys))

    def run(self, **keys: Unpack[RunKeys]) -> Self:
        """Say how long, how many snapshots, which seed, whether a failure is repeated."""
        return self._with_table("run", **keys)

    def gauntlet(self, **keys: Unpack[GauntletKeys]) -> Self:
        """Say which topologies it makes sense on, where it is run on many."""
        return self._with_table("gauntlet", **keys)

    def backdrop(self, *, cgroups: Sequence[Cgroup] = (), ops: Sequence[Op] = ()) -> Self:
        """Add to what is there from before the first step until after the last."""
        before = self.plain().get("backdrop", {})
        return self._with_table(
            "backdrop",
            cgroups=[*before.get("cgroups", ()), *cgroups] or None,
            ops=[*before.get("ops", ()), *ops] or None,
        )

    def step(
        self,
        *,
        hold: Duration | Hold,
        name: str | None = None,
        ops: Sequence[Op] = (),
        cgroups: Sequence[Cgroup] = (),
    ) -> Self:
        """Add a step: the ops, then the cgroups and their workers, then the hold."""
        added = Part.of(name=name, hold=hold, ops=ops or None, cgroups=cgroups or None)
        return self.with_keys(steps=[*self.plain().get("steps", ()), added])

    def check(self, **keys: Unpack[CheckKeys]) -> Self:
        """Add checks; of one that was set before, the later value counts."""
        return self._with_table("checks", **keys)

    def compare(
        self, metric: str, *, phase: str, against: str, **keys: Unpack[CompareKeys]
    ) -> Self:
        """Add a comparison of two phases: an entry of ``[[checks.across]]``."""
        added = Part.of(metric=metric, phase=phase, against=against, **keys)
        return self._with_check("across", added)

    def expect(self, pattern: str, **keys: Unpack[TemporalKeys]) -> Self:
        """Add a pattern that a figure has to follow: an entry of ``[[checks.temporal]]``."""
        return self._with_check("temporal", Part.of(pattern=pattern, **keys))

    def model(self) -> Scenario:
        """The checked scenario, the same as its TOML gives.

        :raises DefinitionInvalid: with every mistake found.
        """
        data = self.plain()
        return scenario_from_data(data, file=f'scenario("{data["name"]}")')

    def to_toml(self) -> str:
        """The scenario file that says the same.

        :raises DefinitionInvalid: with every mistake found.
        """
        return scenario_toml(self.model())

    def _with_check(self, key: str, added: Part) -> Self:
        before = self.plain().get("checks", {}).get(key, ())
        return self._with_table("checks", **{key: [*before, added]})

    def _with_table(self, key: str, **values: object) -> Self:
        table = Part(self.plain().get(key, {}))
        return self.with_keys(**{key: table.with_keys(**values)})


def scenario(name: str) -> ScenarioBuilder:
    """The beginning of a scenario: everything but its name, scheduler and steps has a default."""
    return ScenarioBuilder.of(name=name)


def scenario_toml(model: Scenario) -> str:
    """The file of a scenario, in the words it was written in, without comments.

    What a command line put in the place of the file's own kernel, topology or scheduler is in it.
    """
    data: dict[str, Any] = dict(model.source.data)
    return toml_text(data)
