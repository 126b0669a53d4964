# SPDX-License-Identifier: GPL-2.0-only
"""Runs without guests: the daemon's runner, with the same protocol, that follows a script.

Give it to a daemon as ``Settings(work="ktstr.testing.fake_runner")``. The scenario's text is the
script, a line per command::

    cpus 2               what it says it costs; memory 600 likewise, in MiB
    lease                wait for CPUs
    sleep 0.5            seconds
    event TYPE JSON      say something, as it stands
    file PATH            wait until there is that file
    raw TEXT             write a line that may be no message
    flood 100000         say a note so many times
    kept fail 1          stand there, with this verdict, until it is released
    deaf                 do not hear that it is to end
    crash 11             end by this signal
    refuse TEXT          end as what cannot run
    sidecar              write a record
    verdict fail 1       end with this verdict and exit status; otherwise pass, 0

It imports what it needs to and no more, so that hundreds of them are started in seconds.
"""

import json
import os
import select
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

CRASH_CODE = 71


def prepare() -> None:
    """Nothing is worth doing before a fork."""


def main(events: int) -> int:
    """The life of one process."""
    return _Fake(events).live()


class _Ended(Exception):
    """The run is to end, with these fields of its last word."""

    def __init__(self, **end: Any) -> None:
        super().__init__()
        self.end = end


class _Fake:
    def __init__(self, events: int) -> None:
        self._events = events
        self._commands = bytearray()
        self._folder = Path()
        self._deaf = False

    def live(self) -> int:
        first = self._next(None)
        if first is None:
            return 0
        self._folder = Path(first["folder"])
        submission = json.loads((self._folder / "submission.json").read_text())
        scenario = submission["scenario"]
        file = Path(scenario.get("path", "fake"))
        text = scenario["toml"] if "toml" in scenario else file.read_text()
        script = [line.split(" ", 1) for line in text.splitlines()]
        settings = {words[0]: words[1] for words in script if words[0] in ("cpus", "memory")}
        try:
            for words in script:
                if words[0] == "refuse":
                    raise _Ended(end="finished", verdict="cannot run", exit_code=4, error=words[1])
            self._say(
                type="cost",
                cpus=int(settings.get("cpus", 1)),
                memory_mib=int(settings.get("memory", 1)),
                name=scenario.get("name", file.stem),
            )
            if first["do"] == "survey":
                return 0
            for words in script:
                self._do(words[0], words[1] if len(words) > 1 else "", first["id"])
            raise _Ended(end="finished", verdict="pass", exit_code=0)
        except _Ended as error:
            end = {**error.end, "at": time.time()}
            if first["do"] == "run":
                with suppress(OSError):
                    (self._folder / "end.json").write_text(json.dumps(end))
            self._say(type="end", **error.end)
        return 0

    def _do(self, what: str, rest: str, run_id: str) -> None:
        match what:
            case "lease":
                self._say(type="lease")
                self._await("lease")
            case "sleep":
                self._await("", float(rest))
            case "file":
                while not Path(rest).exists():
                    self._await("", 0.05)
            case "event":
                kind, _, fields = rest.partition(" ")
                self._say(type="event", event={"type": kind, **json.loads(fields or "{}")})
            case "raw":
                self._write(rest.encode() + b"\n")
            case "flood":
                note = {"type": "note", "text": "flood " * 10, "warning": False}
                for _ in range(int(rest)):
                    self._say(type="event", event=note)
            case "kept":
                self._say(type="leave")
                verdict, _, code = (rest or "pass 0").partition(" ")
                told = {"qemu": os.getpid(), "state": "paused", "commands": [["a", "b"]]}
                self._say(type="kept", verdict=verdict, exit_code=int(code), **told)
                self._await("release")
            case "deaf":
                self._deaf = True
            case "crash":
                os.kill(os.getpid(), int(rest))
            case "sidecar":
                path = self._folder / f"fake-{run_id}.ktstr.json"
                head = ('"schema": 3', '"name": "fake"', '"verdict": "fail"', '"exit_code": 1')
                path.write_text("{\n " + ",\n ".join([*head, '"error": null']) + "\n}\n")
            case "verdict":
                verdict, _, code = rest.partition(" ")
                raise _Ended(end="finished", verdict=verdict, exit_code=int(code))

    def _await(self, what: str, seconds: float | None = None) -> None:
        """Wait for a command, or for so long; an end of all that is heard at once."""
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            left = None if until is None else max(0.0, until - time.monotonic())
            command = self._next(left)
            if command is None and not self._deaf:
                raise _Ended(end="lost", error="the daemon was gone")
            if command is not None and command.get("do") == "cancel" and not self._deaf:
                raise _Ended(end="cancelled")
            if command is not None and command.get("do") == what:
                return
            if command is None:
                time.sleep(0.02)

    def _next(self, timeout_s: float | None) -> dict[str, Any] | None:
        """The next command; empty when none came in time; None when no more will."""
        while b"\n" not in self._commands:
            if not select.select([0], [], [], timeout_s)[0]:
                return {}
            data = os.read(0, 4096)
            if not data:
                return None
            self._commands += data
        line, _, self._commands = self._commands.partition(b"\n")
        command: dict[str, Any] = json.loads(line)
        return command

    def _say(self, **message: Any) -> None:
        self._write(json.dumps(message).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._events, data) :]
