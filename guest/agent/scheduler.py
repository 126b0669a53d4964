# SPDX-License-Identifier: GPL-2.0-only
"""The scheduler under test: start it, watch it, stop it."""

from __future__ import annotations

import os
import time

from agent.channel import Channel
from agent.loop import Loop, read_available
from agent.messages import LengthPrefixed
from agent.processes import SIGKILL, SIGTERM, Child, describe_status
from agent.system import kernel_log_lines, sched_ext_ops, sched_ext_state, write_text
from ktstr.wire import MsgType, WireError, unpack_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LOADER = "/ktstr/bin/scx_load"
DEFAULT_ATTACH_MS = 60_000
STOP_S = 5.0
STATE_PAUSE_S = 0.01
# Of a log that is longer than both, its beginning and its end; the host takes 4 MiB.
LOG_CAP = 3 * 1024 * 1024
LOG_END = 960 * 1024
LOG_FRAME = 256 * 1024
# The loader waits up to 3 s for the kernel to complete the exit record.
EXIT_GRACE_S = 5.0
FIRST_ERROR_KIND = 1024  # SCX_EXIT_ERROR of the kernel's enum scx_exit_kind


class SchedulerDied(Exception):
    """The scheduler ended, or was ejected by the kernel, while it was needed."""


class Scheduler:
    """Owns the scheduler's process and knows whether it is attached."""

    def __init__(self, spec: dict[str, Any], loop: Loop, channel: Channel) -> None:
        self._own = spec
        self._spec = spec
        self._loop = loop
        self._channel = channel
        self._child: Child | None = None
        self._status = LengthPrefixed()
        self._logged = 0
        self._log_end = bytearray()
        self._log_gap = 0
        self._pipes: list[int] = []
        self.attached = False
        self.was_attached = False
        self.record: dict[str, object] | None = None
        self.error: dict[str, object] | None = None
        self.gone = False
        self.probe_pid: int | None = None
        self._watched = False

    @property
    def kind(self) -> str:
        """``bpf``, ``binary``, or ``none`` for the kernel's own scheduler."""
        return str(self._spec["kind"])

    @property
    def pid(self) -> int | None:
        """Process id of the loader or of the user's binary."""
        return None if self._child is None else self._child.pid

    def attach(self, spec: dict[str, Any] | None, during: str) -> None:
        """Start another scheduler, or without ``spec`` the one the scenario began with.

        :raise SchedulerDied: when it did not attach; a SchedulerExit frame was sent.
        """
        self._spec = spec or self._own
        self.start(during)

    def restart(self, during: str) -> None:
        """End the scheduler and start it again.

        :raise SchedulerDied: as :meth:`detach` and :meth:`start`.
        :raise ValueError: as :meth:`detach`.
        """
        self.detach(during)
        self.start(during)

    def detach(self, during: str) -> None:
        """End the scheduler because that is wanted: no SchedulerExit frame is sent.

        :raise SchedulerDied: when it turns out to have failed before.
        :raise ValueError: when the kernel does not let go of it.
        """
        self.stop(during)
        deadline = time.monotonic() + STOP_S
        while (state := sched_ext_state()) not in ("disabled", None):
            if time.monotonic() >= deadline:
                raise ValueError(f"sched_ext is still {state} {STOP_S:.0f} s after the end")
            self._loop.run(time.monotonic() + STATE_PAUSE_S)
        self._child = None
        self._status = LengthPrefixed()
        self.record = self.error = None
        self.gone = False
        self._channel.send(MsgType.SCHEDULER_STATUS, {"event": "detached"})

    def start(self, during: str = "attach") -> None:
        """Load and attach.

        :param during: what the harness was doing, for a report of a failure.
        :raise SchedulerDied: when it did not attach; a SchedulerExit frame was sent.
        """
        if self.kind == "none":
            return
        if not self._set_sysctls():
            self._report_exit(during)
            raise SchedulerDied("a sysctl could not be set")
        status_read, status_write = os.pipe()
        log_read, log_write = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        fds = {0: null, 1: log_write, 2: log_write, 3: status_write}
        argv = self._argv()
        self._channel.log("starting the scheduler: " + " ".join(argv))
        try:
            self._child = Child(argv, fds, realtime=self.kind == "bpf")
        except OSError as error:
            self.error = {"stage": "start", "message": self._why_not_started(argv[0], error)}
        finally:
            for fd in (null, log_write, status_write):
                os.close(fd)
        self._watch(status_read, self._read_status)
        self._watch(log_read, self._read_log)
        if self._child is not None:
            self._loop.add(self._child.pidfd, self._ended)
            # Also before it is attached: a binary does not tell, so it has to be seen.
            if not self._watched:
                self._watched = True
                self._loop.every_tick(self._check_state)
            seconds = int(self._spec.get("attach_ms", DEFAULT_ATTACH_MS)) / 1000
            if not self._loop.run(time.monotonic() + seconds, self._settled):
                late = f"not attached within {seconds:g} s of its start"
                self.error = {"stage": "start", "message": late}
        if not self.attached:
            self._note_early_end()
            self._report_exit(during)
            raise SchedulerDied("the scheduler did not attach")

    def _note_early_end(self) -> None:
        # The loader says what went wrong; a program that ends without a word to us does not.
        if self._child is not None and self.error is None and self.record is None:
            ended = describe_status(self._child.status)
            self.error = {"stage": "start", "message": f"{ended} before it was attached"}

    def _set_sysctls(self) -> bool:
        for name, value in self._spec.get("sysctls") or ():
            try:
                write_text("/proc/sys/" + name.replace(".", "/"), value)
            except OSError as error:
                message = f"sysctl {name} = {value}: {error.strerror}"
                self.error = {"stage": "sysctl", "message": message}
                return False
        return True

    @staticmethod
    def _why_not_started(program: str, error: OSError) -> str:
        if isinstance(error, FileNotFoundError) and os.path.exists(program):
            return (
                f"{program}: what runs it (the interpreter in its first line, or its dynamic "
                "loader) is not in the guest"
            )
        return f"{program}: {error.strerror}"

    def _argv(self) -> list[str]:
        path = str(self._spec["path"])
        args = [str(arg) for arg in self._spec["args"]]
        if self.kind == "binary":
            return [path, *args]
        argv = [LOADER, "--timeout-ms", str(self._spec["timeout_ms"]), *args]
        if self.probe_pid is not None:
            argv += ["--probe-pid", str(self.probe_pid)]
        for name, value in self._spec["set"]:
            argv += ["--set", f"{name}={value}"]
        return [*argv, path]

    def _watch(self, fd: int, callback: Callable[[int], None]) -> None:
        os.set_blocking(fd, False)
        self._pipes.append(fd)
        self._loop.add(fd, lambda: callback(fd))

    def _settled(self) -> bool:
        if self.kind == "binary" and not self.attached and sched_ext_state() == "enabled":
            self._set_attached({"event": "attached", "ops": sched_ext_ops()})
        return self.attached or self.gone or self.error is not None

    def _set_attached(self, event: dict[str, object]) -> None:
        self.attached = self.was_attached = True
        self._channel.send(MsgType.SCHEDULER_STATUS, event)

    def _read_status(self, fd: int) -> None:
        data = read_available(fd)
        messages: list[bytes] = []
        try:
            messages = self._status.feed(data or b"")
        except ValueError as error:
            # A user's program may take descriptor 3 for something else.
            self._channel.log(f"descriptor 3 of the scheduler is not for us: {error}")
            data = b""
        if data == b"":
            self._loop.remove(fd)
        for message in messages:
            try:
                event = unpack_map(message)
            except WireError as error:
                self._channel.log(f"loader status cannot be read: {error}")
                continue
            kind = event.get("event")
            if kind == "attached":
                self._set_attached(event)
            elif kind == "exit":
                self.record = event
                self.gone = True
            elif kind == "error":
                self.error = event
            else:
                self._channel.send(MsgType.SCHEDULER_STATUS, event)

    def _read_log(self, fd: int) -> None:
        data = read_available(fd)
        if data == b"":
            self._loop.remove(fd)
            self._send_log_end()
        if not data:
            return
        room = max(0, LOG_CAP - self._logged)
        self._logged += len(data)
        if room:
            text = data[:room].decode("utf-8", "replace")
            self._channel.send(MsgType.SCHEDULER_LOG, {"text": text})
        self._log_end += data[room:]
        if len(self._log_end) > 2 * LOG_END:
            self._log_gap += len(self._log_end) - LOG_END
            del self._log_end[:-LOG_END]

    def _send_log_end(self) -> None:
        """Send what came last of a log that became too long for all of it."""
        self._log_gap += max(0, len(self._log_end) - LOG_END)
        if self._log_gap:
            text = f"\n[{self._log_gap} bytes of the scheduler's log are left out here]\n"
            self._channel.send(MsgType.SCHEDULER_LOG, {"text": text})
        end = bytes(self._log_end[-LOG_END:])
        self._log_end, self._log_gap = bytearray(), 0
        for start in range(0, len(end), LOG_FRAME):
            text = end[start : start + LOG_FRAME].decode("utf-8", "replace")
            self._channel.send(MsgType.SCHEDULER_LOG, {"text": text})

    def _ended(self) -> None:
        if self._child is not None and self._child.poll():
            self._loop.remove(self._child.pidfd)
            self.gone = True

    def _check_state(self) -> None:
        # A binary may outlive its ejection by the kernel, so its process tells too little.
        if self.attached and not self.gone and sched_ext_state() != "enabled":
            self.gone = True

    def check(self, during: str) -> None:
        """Notice a scheduler that ended.

        :raise SchedulerDied: when it did; a SchedulerExit frame was sent.
        """
        if self.attached and self.gone:
            self.attached = False
            self._report_exit(during)
            raise SchedulerDied(during)

    def _report_exit(self, during: str) -> None:
        # The record may trail the death of the process by one poll of the loader.
        if self._child is not None:
            self._loop.run(
                time.monotonic() + EXIT_GRACE_S,
                lambda: (
                    self._child is not None
                    and self._child.poll()
                    and not any(fd in self._loop for fd in self._pipes)
                ),
            )
        self._channel.send(
            MsgType.SCHEDULER_EXIT,
            {
                "during": during,
                "uptime_ms": int(time.monotonic() * 1000),
                "process": describe_status(None if self._child is None else self._child.status),
                "record": self.record,
                "error": self.error,
                "kernel_log": "\n".join(kernel_log_lines("sched_ext")),
            },
        )

    def stop(self, during: str = "the end") -> None:
        """Detach and end the process; waits up to five seconds before it kills.

        :raise SchedulerDied: when it turns out to have failed before it was stopped; a
            SchedulerExit frame was sent.
        """
        needed, self.attached = self.attached, False
        child = self._child
        if child is not None:
            child.kill(SIGTERM)
            self._loop.run(time.monotonic() + STOP_S, child.poll)
            if not child.poll():
                self._channel.log("the scheduler ignored SIGTERM for 5 s and was killed")
                child.kill(SIGKILL)
                child.wait(STOP_S)
            self._loop.remove(child.pidfd)
            child.close()
        # What the scheduler printed on its way out is still in the pipes.
        self._loop.run(
            time.monotonic() + 0.05, lambda: not any(p in self._loop for p in self._pipes)
        )
        for fd in self._pipes:
            self._loop.remove(fd)
            os.close(fd)
        self._pipes = []
        self._send_log_end()
        kind = None if self.record is None else self.record.get("kind")
        if needed and isinstance(kind, int) and kind >= FIRST_ERROR_KIND:
            self._report_exit(during)
            raise SchedulerDied(during)
