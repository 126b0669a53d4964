# SPDX-License-Identifier: GPL-2.0-only
"""A recorded run whose instants can be visited: what to run again, and when an instant comes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from ktstr.errors import CannotRun
from ktstr.session.identity import read_values
from ktstr.session.options import RunOptions
from ktstr.session.prepare import Prepared
from ktstr.session.record import phase_title
from ktstr.session.sidecar.write import SUFFIX, is_repetition
from ktstr.session.virtual import plan_digest

FRAMES: Final = "frames.bin"

MAX_INSTANTS: Final = 1000
"""Instants of one visit; each leaves a file."""


Moment: TypeAlias = tuple[int, int, int]
"""Start or end of a step: its index, the workload time, all workers' iterations so far."""


class NotVisitable(CannotRun):
    """A record does not tell of an instant that could be visited."""


@dataclass(frozen=True, slots=True)
class Begin:
    """When a step began.

    :param elapsed_ms: workload time.
    :param uptime_ms: the guest's own clock.
    """

    step: int
    elapsed_ms: int
    uptime_ms: int


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment of a run.

    :param elapsed_ms: workload time, as records tell it.
    :param uptime_ns: the guest's own clock.
    :param step: the step whose hold it lies in.
    """

    elapsed_ms: float
    uptime_ns: int
    step: int


@dataclass(frozen=True, slots=True)
class Past:
    """A run by the virtual clock, as its record tells.

    :param options: what to run again with.
    :param begins: its steps, in order.
    :param end_ms: workload time at which its last step ended; ``None`` when that did not end.
    :param moments: starts and ends of its steps.
    :param frames_sha256: digest of all that the guest sent.
    :param frames: a file with all that the guest sent; ``None`` when it was not kept.
    """

    sidecar: Path
    scenario: Path
    options: RunOptions
    seed: int
    begins: tuple[Begin, ...]
    end_ms: int | None
    moments: tuple[Moment, ...]
    qemu: str
    plan: str
    kernel: str
    image: str
    frames_sha256: str
    frames: Path | None

    @property
    def label(self) -> str:
        """The run's name and id."""
        return self.sidecar.name.removesuffix(SUFFIX)

    def instant(self, elapsed_ms: float) -> Instant:
        """The instant at a workload time.

        :raises NotVisitable: when the run was over by then.
        """
        if self.end_ms is not None and elapsed_ms > self.end_ms:
            raise NotVisitable(
                f"{elapsed_ms:g} ms lie beyond the end: {self.label} worked for {self.end_ms} ms",
                hint=f"choose a time from 0 to {self.end_ms} ms",
            )
        begin = max(
            (each for each in self.begins if each.elapsed_ms <= elapsed_ms),
            key=lambda each: each.elapsed_ms,
        )
        uptime_ms = begin.uptime_ms + elapsed_ms - begin.elapsed_ms
        return Instant(elapsed_ms, round(uptime_ms * 1e6), begin.step)

    def every(self, interval_ms: float) -> list[Instant]:
        """An instant each ``interval_ms`` of workload time, from 0 to the last step's end.

        :raises NotVisitable: when that has no end, or there would be too many.
        """
        if self.end_ms is None:
            raise NotVisitable(
                f"{self.label} did not come to its end, so where --every ends is not known",
                hint="visit single instants with --ms",
            )
        count = int(self.end_ms / interval_ms) + 1
        if count > MAX_INSTANTS:
            raise NotVisitable(
                f"every {interval_ms:g} ms of {self.end_ms} ms are {count} instants",
                hint=f"at most {MAX_INSTANTS} at a time: choose a longer interval",
            )
        return [self.instant(index * interval_ms) for index in range(count)]

    def at(self, uptime_ns: int, step: int) -> Instant:
        """The instant at a time of the guest's clock, within a step."""
        begin = next(each for each in self.begins if each.step == step)
        return Instant(begin.elapsed_ms + uptime_ns / 1e6 - begin.uptime_ms, uptime_ns, step)

    def check(self, ready: Prepared) -> None:
        """See that what would run is what ran.

        :raises NotVisitable: naming what has changed since.
        """
        now = {
            "the scenario": (self.plan, plan_digest(ready.definition.plan)),
            "the kernel": (self.kernel, ready.kernel.digest),
            "the guest image": (self.image, ready.image.digest),
        }
        for what, (then, found) in now.items():
            if then != found:
                raise NotVisitable(
                    f"{what} has changed since {self.label} was run: {then[:12]}, now {found[:12]}",
                    hint="another run is another past: run the scenario again and visit that",
                )

    def check_qemu(self, version: str) -> None:
        """See that QEMU is the one it ran under.

        :raises NotVisitable: when it is not.
        """
        if version != self.qemu:
            raise NotVisitable(
                f"{self.label} was run under QEMU {self.qemu}; this is {version}",
                hint="each version counts its own way: run the scenario again and visit that",
            )


def read_past(sidecar: Path) -> Past:
    """What a record says about visiting its run.

    :raises SidecarUnreadable: when it is no record.
    :raises NotVisitable: when its run cannot be visited.
    """
    values = read_values(sidecar)
    virtual = values.get("virtual")
    if not isinstance(virtual, Mapping):
        raise NotVisitable(
            f"{sidecar} is of a run by the wall clock: none of its instants comes back",
            hint="run it with --clock virtual, then visit that run",
        )
    if is_repetition(sidecar):
        raise NotVisitable(
            f"{sidecar} is of a repetition with probes", hint="visit the run that it repeats"
        )
    try:
        past = _past(sidecar, values, virtual)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotVisitable(
            f"{sidecar} does not say how to run it again ({type(error).__name__}: {error})",
            hint="it may be of an older ktstr: run the scenario again and visit that",
        ) from None
    if not past.begins:
        raise NotVisitable(f"no step of {past.label} began: there is no instant to visit")
    if not past.scenario.is_file():
        raise NotVisitable(
            f"the scenario of {past.label} is gone: {past.scenario} is no file",
            hint="put it back where it was",
        )
    return past


def _past(sidecar: Path, values: Mapping[str, Any], virtual: Mapping[str, Any]) -> Past:
    repeat, seed = values["host"]["again"], int(virtual["seed"])
    flags = repeat["flags"]
    ends = [
        int(event["elapsed_ms"])
        for event in values["stimulus"]
        if event["is_step_end"] and event["step_index"] == len(values["steps"])
    ]
    kept = values["host"].get("frames") or sidecar.parent.joinpath(
        f"{sidecar.name.removesuffix(SUFFIX)}.evidence", FRAMES
    )
    return Past(
        sidecar=sidecar,
        scenario=Path(repeat["scenario"]),
        options=RunOptions(
            kernel=repeat["kernel"],
            topology=repeat["topology"],
            scheduler=repeat["scheduler"],
            work_type=repeat["work_type"],
            flags=None if flags is None else tuple(str(flag) for flag in flags),
            clock="virtual",
            seed=seed,
            icount_shift=int(virtual["shift"]),
            auto_repro=False,
        ),
        seed=seed,
        begins=tuple(
            Begin(int(each["step"]), int(each["elapsed_ms"]), int(each["uptime_ms"]))
            for each in virtual["began"]
        ),
        end_ms=ends[0] if ends else None,
        moments=tuple(
            (event["step_index"], event["elapsed_ms"], event["total_iterations"])
            for event in values["stimulus"]
            if event["step_index"] is not None
        ),
        qemu=str(virtual["qemu"]),
        plan=str(virtual["plan"]),
        kernel=str(values["kernel"]["digest"]),
        image=str(values["image_digest"]),
        frames_sha256=str(virtual["frames"]["sha256"]),
        frames=Path(kept) if Path(kept).is_file() else None,
    )


def where(past: Past, instant: Instant) -> str:
    """An instant in words: its step, and how far into it."""
    begin = next(each for each in past.begins if each.step == instant.step)
    into = instant.elapsed_ms - begin.elapsed_ms
    return f"{into:.0f} ms into {phase_title(instant.step)}"
