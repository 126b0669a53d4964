# SPDX-License-Identifier: GPL-2.0-only
"""A stage for the step engine: fakes of all it acts on, which note what was done to them."""

from typing import Any

from agent.loop import Loop
from agent.scheduler import SchedulerDied
from agent.steps import Engine
from ktstr.wire import MsgType, Stimulus

SPIN = {"type": "SpinWait", "workers": 2}


class Fakes:
    """Cgroups, workers and scheduler that only keep an account, in one list."""

    def __init__(self, heard: Any) -> None:
        self.did: list[Any] = heard.sent
        self.heard = heard
        self.fail: dict[str, Exception] = {}
        self.groups: list[Any] = []
        self.made: set[str] = set()
        self.gone = False
        self.phases: list[int | None] = []
        self.cpus: dict[str, str] = {}
        self.frozen: set[str] = set()

    def note(self, what: str, *args: object) -> None:
        self.did.append((what, *args))
        if what in self.fail:
            raise self.fail[what]

    # Scheduler
    def check(self, during: str) -> None:
        if self.gone:
            self.note("death", during)
            raise SchedulerDied(during)

    def attach(self, spec: dict[str, Any] | None, during: str) -> None:
        self.note("attach", spec, during)

    def detach(self, during: str) -> None:
        self.note("detach", during)

    def restart(self, during: str) -> None:
        self.note("restart", during)

    # Cgroups
    def make_parent(self) -> None:
        self.note("parent")

    def create(self, name: str) -> None:
        self.note("create", name)
        self.made.add(name)

    def remove(self, name: str) -> None:
        self.note("remove", name)
        self.made.discard(name)

    def remove_all(self, keep: set[str]) -> None:
        for name in sorted(self.made - keep):
            self.remove(name)

    def names(self) -> set[str]:
        return set(self.made)

    def count(self) -> int:
        return len(self.made)

    def set_cpus(self, name: str, cpus: str | None) -> None:
        self.note("cpus", name, cpus)
        self.cpus[name] = cpus or ""

    def get_cpus(self, name: str) -> str:
        return self.cpus.get(name, "")

    def set_weight(self, name: str, weight: int) -> None:
        self.note("weight", name, weight)

    def set_cpu_max(self, name: str, limit: str) -> None:
        self.note("cpu_max", name, limit)

    def freeze(self, name: str) -> None:
        self.note("freeze", name)
        self.frozen.add(name)

    def thaw(self, name: str) -> None:
        self.note("thaw", name)
        self.frozen.discard(name)

    def thaw_all(self) -> None:
        for name in sorted(self.frozen):
            self.thaw(name)

    def move_all(self, source: str, target: str) -> int:
        self.note("move", source, target)
        return 1

    # Workers
    def spawn(self, spec: dict[str, Any], cgroup: str, step: int, work_idx: int) -> "FakeGroup":
        self.note("spawn", cgroup, step, work_idx)
        group = FakeGroup(cgroup, step)
        self.groups.append(group)
        return group

    def spawn_all(self, spec: dict[str, Any], *where: Any) -> list[Any]:
        return [self.spawn(spec, *where)]

    def begin_phase(self, step: int) -> None:
        self.phases.append(step)

    def end_phase(self) -> None:
        self.phases.append(None)

    def wait_ready(self, groups: list[Any]) -> None:
        self.note("ready", len(groups))

    def start(self, groups: list[Any]) -> None:
        self.note("start", len(groups))

    def collect(self, groups: list[Any]) -> None:
        self.note("collect", sorted(group.cgroup for group in groups))
        self.groups = [group for group in self.groups if group not in groups]

    def discard(self, groups: list[Any]) -> None:
        self.note("discard", sorted(group.cgroup for group in groups))
        self.groups = [group for group in self.groups if group not in groups]

    def of_step(self, step: int) -> list[Any]:
        return [group for group in self.groups if group.step == step]

    def of_cgroup(self, name: str) -> list[Any]:
        return [group for group in self.groups if group.place == name]

    def alive(self) -> int:
        return 2 * len(self.groups)

    def total_iterations(self) -> int:
        return 1000


class FakePayloads:
    """Payloads that only keep an account."""

    def __init__(self, fakes: Fakes) -> None:
        self.fakes = fakes
        self.running: dict[str, int] = {}
        self.over: set[str] = set()

    def run(self, op: dict[str, Any], step: int) -> None:
        self.fakes.note("run", op["name"])
        self.running[op["name"]] = step

    def ended(self, name: str) -> bool:
        return name in self.over

    def finish(self, name: str, killed: str) -> None:
        self.fakes.note("finish", name, killed)
        del self.running[name]

    def end_step(self, step: int) -> None:
        for name in [name for name, owner in self.running.items() if owner == step]:
            self.finish(name, "step")

    def end_all(self) -> None:
        for name in list(self.running):
            self.finish(name, "all")


class FakeGroup:
    def __init__(self, cgroup: str, step: int) -> None:
        self.cgroup = self.place = cgroup
        self.step = step
        self.pids: list[int] = []

    def label(self) -> str:
        return self.cgroup


def cgroup(name: str, *works: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "cpus": None, "weight": None, "works": list(works), **more}


def step(
    index: int, ops: list[Any] | None = None, *cgroups: Any, hold: int = 10, **more: Any
) -> dict[str, Any]:
    return {"index": index, "hold_ms": hold, "ops": ops or [], "cgroups": list(cgroups), **more}


def op(name: str, kind: int = 0, /, **fields: Any) -> dict[str, Any]:
    return {"op": name, "kind": kind, **fields}


class Stage:
    """Runs plans on fakes."""

    def __init__(self, loop: Loop, heard: Any) -> None:
        self.loop, self.heard = loop, heard
        self.fakes = Fakes(heard)
        self.payloads = FakePayloads(self.fakes)
        self.shutdown = False

    def run(
        self,
        *steps: Any,
        backdrop: list[Any] | None = None,
        ops: Any = (),
        settle: int = 0,
        plan: dict[str, Any] | None = None,
    ):
        plan = (plan or {}) | {
            "steps": list(steps),
            "backdrop": {"cgroups": backdrop or [], "ops": list(ops)},
            "settle_ms": settle,
            "seed": 1,
        }
        engine = Engine(plan, self.loop, self.heard, self.fakes, lambda: self.shutdown)
        engine.workers.close()
        engine.cgroups = engine.workers = self.fakes
        engine.payloads = self.payloads
        self.engine = engine
        engine.run()

    def did(self, *names: str) -> list[tuple[Any, ...]]:
        """What was done, stimulus frames by their name; all of it, or only these kinds."""
        frames = {
            MsgType.SCENARIO_START: "ScenarioStart",
            MsgType.STEP_START: "StepStart",
            MsgType.STEP_END: "StepEnd",
            MsgType.SCENARIO_END: "ScenarioEnd",
            MsgType.SCENARIO_PAUSE: "Pause",
            MsgType.SCENARIO_RESUME: "Resume",
        }
        found = []
        for entry in self.fakes.did:
            if entry[0] not in frames:
                found.append(entry)
            elif isinstance(entry[1], Stimulus):
                found.append((frames[entry[0]], entry[1].step_index))
            else:
                found.append((frames[entry[0]],))
        return [entry for entry in found if not names or entry[0] in names]

    def stimuli(self, msg_type: int) -> list[Stimulus]:
        return self.heard.of(msg_type)
