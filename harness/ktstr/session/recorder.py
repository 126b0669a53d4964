# SPDX-License-Identifier: GPL-2.0-only
"""Everything the guest said, checked and bounded, in one place."""

from collections.abc import Callable
from dataclasses import dataclass

from ktstr.capture.boundaries import WorkloadClock
from ktstr.errors import ChannelLost
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.session.hello import Hello
from ktstr.session.payloads import PayloadResult
from ktstr.telemetry import TaggedReport, TelemetryError
from ktstr.wire import Frame, MsgType, Stimulus, WireError, unpack_map
from ktstr.wire.frame import type_name
from ktstr.wire.messages import take_int, take_str

LOG_CAP = 4 * 1024 * 1024
NOTES_CAP = 200
NOTE_CHARS = 1000
STATUS_CAP = 64 * 1024
DUMP_CAP = 512 * 1024
PAYLOADS_CAP = 256


@dataclass(frozen=True, slots=True)
class SchedulerExit:
    """How the scheduler ended while it was needed.

    ``kind`` is the kernel's exit kind (1024 and up are errors) or None when no exit record came;
    ``stage`` names what failed when it never attached (``open``, ``set``, ``load``, ``attach``).
    """

    during: str
    process: str
    kind: int | None
    kind_name: str | None
    exit_code: int | None
    reason: str
    message: str
    dump: str
    stage: str | None
    kernel_log: str


class BoundedLog:
    """Text that stops growing at a cap and says so."""

    def __init__(self, cap: int = LOG_CAP) -> None:
        self._parts: list[str] = []
        self._room = cap

    def add(self, text: str) -> None:
        """Append; what exceeds the cap is dropped once with a closing line."""
        if self._room <= 0:
            return
        self._parts.append(text[: self._room])
        self._room -= len(text)
        if self._room <= 0:
            self._parts.append("\n[cut here: the guest sent more than the log may hold]\n")

    def text(self) -> str:
        """All of it."""
        return "".join(self._parts)


class Recorder:
    """Takes frames in order and keeps what they mean.

    :param expected: the (step, cgroup) pairs that may report, each with its worker count.
    :ivar prepared: whether the guest has got ready what comes before a plan, and waits for one.
    :ivar uptime_ms: the guest's own clock at Goodbye.
    :ivar clock: the workload's clock, which runs while the guest holds a step.
    :ivar marks: for each step that began: workload time, and the guest's own clock then, ms.
    """

    def __init__(self, expected: dict[tuple[int, str], int]) -> None:
        self.hello: Hello | None = None
        self.bad_hello: ChannelLost | None = None
        self.statuses: list[dict[str, object]] = []
        self.attached_at: float | None = None
        self.prepared = False
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.goodbye: str | None = None
        self.uptime_ms: int | None = None
        self._start_ms: int | None = None
        self.step_index = 0
        self.clock = WorkloadClock()
        self.events: list[StimulusEvent] = []
        self.step_ends: set[int] = set()
        self.step_starts: dict[int, float] = {}
        self.marks: dict[int, tuple[int, int]] = {}
        self.reports: list[TaggedReport] = []
        self.payloads: list[PayloadResult] = []
        self.scheduler_exit: SchedulerExit | None = None
        self.scheduler_died_s: float | None = None
        self.scheduler_log = BoundedLog()
        self.agent_log = BoundedLog()
        self.agent_errors: list[str] = []
        self.notes: list[str] = []
        self.unknown_frames = 0
        self._doubts = 0
        self.on_stats: Callable[[bytes], None] = lambda payload: None
        self.on_request: Callable[[int, bytes], None] = lambda msg_type, payload: None
        self.on_snapshot: Callable[[bytes], None] = _unexpected_snapshot
        self.on_program: Callable[[int, bytes], None] = lambda msg_type, payload: None
        self.on_step: Callable[[int, bool], None] = lambda index, begins: None
        self.on_over: Callable[[], None] = lambda: None
        self._left = dict(expected)
        self._handlers: dict[int, Callable[[bytes, float], None]] = {
            MsgType.HELLO: self._hello,
            MsgType.PREPARED: self._prepared,
            MsgType.SCHEDULER_STATUS: self._status,
            MsgType.SCHEDULER_EXIT: self._exit,
            MsgType.SCHEDULER_LOG: self._scheduler_log,
            MsgType.AGENT_LOG: self._agent_log,
            MsgType.AGENT_ERROR: self._agent_error,
            MsgType.SCENARIO_START: self._start,
            MsgType.STEP_START: self._step_start,
            MsgType.STEP_END: self._step_end,
            MsgType.SCENARIO_END: self._end,
            MsgType.SCENARIO_PAUSE: lambda payload, now: self.clock.stop(now),
            MsgType.SCENARIO_RESUME: self._resume,
            MsgType.WORKER_REPORT: self._report,
            MsgType.STATS_REPLY: lambda payload, now: self.on_stats(payload),
            MsgType.PAYLOAD_RESULT: self._payload,
            MsgType.SNAPSHOT_REQUEST: self._request(MsgType.SNAPSHOT_REQUEST),
            MsgType.KERNEL_OP_REQUEST: self._request(MsgType.KERNEL_OP_REQUEST),
            MsgType.GUEST_SNAPSHOT: lambda payload, now: self.on_snapshot(payload),
            MsgType.PROGRAM_OUTPUT: self._program(MsgType.PROGRAM_OUTPUT),
            MsgType.PROGRAM_STATE: self._program(MsgType.PROGRAM_STATE),
            MsgType.PROGRAM_END: self._program(MsgType.PROGRAM_END),
            MsgType.GOODBYE: self._goodbye,
        }

    def on_frame(self, frame: Frame, now: float) -> None:
        """Take one frame, received at host monotonic ``now``; a bad payload becomes a note."""
        handler = self._handlers.get(frame.msg_type)
        if handler is None:
            self.unknown_frames += 1
            return
        try:
            handler(frame.payload, now)
        except WireError as error:
            self._doubt(f"frame {frame.sequence} ({type_name(frame.msg_type)}): {error}")

    def note(self, text: str) -> None:
        """Keep a sentence of the harness's own for the record."""
        self.notes.append(text)

    def _doubt(self, text: str) -> None:
        """Keep a sentence about something the guest sent; it can send any number of them."""
        self._doubts += 1
        if self._doubts < NOTES_CAP:
            self.notes.append(text[:NOTE_CHARS])
        elif self._doubts == NOTES_CAP:
            self.notes.append("the guest gave cause for more notes; they were dropped")

    def _hello(self, payload: bytes, now: float) -> None:
        if self.hello is not None or self.bad_hello is not None:
            raise WireError("a second Hello; the first one stands")
        try:
            self.hello = Hello.from_payload(payload)
        except ChannelLost as error:
            self.bad_hello = error

    def _prepared(self, payload: bytes, now: float) -> None:
        self.prepared = True

    def _status(self, payload: bytes, now: float) -> None:
        if len(payload) > STATUS_CAP:
            raise WireError(f"{len(payload)} bytes of status; at most {STATUS_CAP} are taken")
        fields = unpack_map(payload)
        if len(self.statuses) < 64:
            self.statuses.append(fields)
        if fields.get("event") == "attached" and self.attached_at is None:
            self.attached_at = now

    def _exit(self, payload: bytes, now: float) -> None:
        if self.scheduler_exit is not None:
            raise WireError("a second exit of the scheduler; the first one stands")
        fields = unpack_map(payload)
        record = fields.get("record")
        error = fields.get("error")
        if not isinstance(record, dict):
            record = {}
        if not isinstance(error, dict):
            error = {}
        if self.started_at is not None:
            self.scheduler_died_s = self._since_start_s(fields, now - self.started_at)
        self.scheduler_exit = SchedulerExit(
            during=_text(fields.get("during"), 200),
            process=_text(fields.get("process"), 200),
            kind=_int(record.get("kind")),
            kind_name=_text(record.get("kind_name"), 64) or None,
            exit_code=_int(record.get("exit_code")),
            reason=_text(record.get("reason"), 1024),
            message=_text(record.get("msg"), 4096) or _text(error.get("message"), 4096),
            dump=_text(record.get("dump"), DUMP_CAP),
            stage=_text(error.get("stage"), 64) or None,
            kernel_log=_text(fields.get("kernel_log"), 65536),
        )

    def _scheduler_log(self, payload: bytes, now: float) -> None:
        self.scheduler_log.add(take_str(unpack_map(payload), "text", 1 << 20))

    def _agent_log(self, payload: bytes, now: float) -> None:
        fields = unpack_map(payload)
        ms = take_int(fields, "ms")
        self.agent_log.add(f"[{ms / 1000:10.3f}] {take_str(fields, 'text', 65536)}\n")

    def _agent_error(self, payload: bytes, now: float) -> None:
        text = take_str(unpack_map(payload), "text", 65536)
        self.agent_log.add(f"error: {text}\n")
        if len(self.agent_errors) < 16:
            self.agent_errors.append(text)

    def _start(self, payload: bytes, now: float) -> None:
        if self.started_at is None:
            self.started_at = now
            self._start_ms = _int(unpack_map(payload).get("uptime_ms"))

    def _since_start_s(self, fields: dict[str, object], received_s: float) -> float:
        """Time since ScenarioStart by the guest's clock; by the host's where it does not tell."""
        now_ms = _int(fields.get("uptime_ms"))
        if now_ms is None or self._start_ms is None or now_ms < self._start_ms:
            return received_s
        return (now_ms - self._start_ms) / 1000

    def _step_start(self, payload: bytes, now: float) -> None:
        stimulus = Stimulus.from_payload(payload)
        if self._add_event(StimulusEvent.from_wire(stimulus)):
            self.step_index = stimulus.step_index
            if stimulus.uptime_ms is not None:
                self.marks[stimulus.step_index] = (stimulus.elapsed_ms, stimulus.uptime_ms)
            self.step_starts[stimulus.step_index] = now
            self.clock.start(now)
            self.on_step(stimulus.step_index, True)

    def _step_end(self, payload: bytes, now: float) -> None:
        self.clock.stop(now)
        stimulus = Stimulus.from_payload(payload)
        if self._add_event(StimulusEvent.from_step_end(stimulus)):
            self.step_ends.add(stimulus.step_index)
            self.on_step(stimulus.step_index, False)

    def _resume(self, payload: bytes, now: float) -> None:
        if self.step_index in self.step_starts and self.step_index not in self.step_ends:
            self.clock.start(now)

    def _end(self, payload: bytes, now: float) -> None:
        stimulus = Stimulus.from_payload(payload)
        event = StimulusEvent.terminal(stimulus.elapsed_ms, stimulus.total_iterations)
        if self._add_event(event):
            self.ended_at = now
            self.on_over()

    def _add_event(self, event: StimulusEvent) -> bool:
        # A scenario has at most 256 steps, two events each, and one end.
        if len(self.events) > 2 * 256:
            self._doubt("more step events than a scenario can have; the rest were dropped")
            return False
        self.events.append(event)
        return True

    def _report(self, payload: bytes, now: float) -> None:
        try:
            tagged = TaggedReport.from_wire(unpack_map(payload))
        except TelemetryError as error:
            self._doubt(f"a worker's report was refused: {error}")
            return
        key = (tagged.step_index, tagged.cgroup)
        if self._left.get(key, 0) <= 0:
            self._doubt(f"a report for step {key[0]}, cgroup {key[1]!r} was not expected; dropped")
            return
        self._left[key] -= 1
        self.reports.append(tagged)

    def _payload(self, payload: bytes, now: float) -> None:
        result = PayloadResult.from_wire(unpack_map(payload))
        if len(self.payloads) >= PAYLOADS_CAP:
            raise WireError(f"more than {PAYLOADS_CAP} payloads; dropped")
        self.payloads.append(result)

    def _request(self, msg_type: int) -> Callable[[bytes, float], None]:
        return lambda payload, now: self.on_request(msg_type, payload)

    def _program(self, msg_type: int) -> Callable[[bytes, float], None]:
        return lambda payload, now: self.on_program(msg_type, payload)

    def _goodbye(self, payload: bytes, now: float) -> None:
        fields = unpack_map(payload)
        self.goodbye = take_str(fields, "reason", 64)
        self.uptime_ms = _int(fields.get("uptime_ms"))

    def missing_reports(self) -> dict[tuple[int, str], int]:
        """How many workers of each (step, cgroup) that ran to its end have not reported."""
        return {
            key: count
            for key, count in self._left.items()
            if count > 0 and (key[0] in self.step_ends or (key[0] == 0 and self.ended_at))
        }


def _unexpected_snapshot(payload: bytes) -> None:
    raise WireError("this guest was not to take snapshots itself; dropped")


def _text(value: object, cap: int) -> str:
    return value[:cap] if isinstance(value, str) else ""


def _int(value: object) -> int | None:
    return value if type(value) is int else None
