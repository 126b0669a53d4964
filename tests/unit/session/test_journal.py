# SPDX-License-Identifier: GPL-2.0-only
"""The harness's log: one JSON line per event, bounded."""

import json
from pathlib import Path

from ktstr.cli.logs import configure_logging
from ktstr.session import journal
from ktstr.session.events import Froze, Note, RunEvent
from ktstr.session.journal import open_journal
from ktstr.vm.events import MachineEvent
from ktstr.wire import Frame, MsgType


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_events_frames_and_qmp_become_lines_and_pass_on(tmp_path: Path) -> None:
    path = tmp_path / "harness.log"
    passed: list[RunEvent] = []
    with open_journal(path, "run-1") as found:
        observe = found.observing(passed.append)
        observe(Note("one"))
        observe(Froze("periodic_000", 100.0, 1.5, 13, None))
        found.machine(MachineEvent("STOP", 5, {}))
        found.frame(Frame(MsgType.HELLO, 3, b"abc"))
        # Readable while the run still goes on: evidence is copied then.
        assert len(lines(path)) == 4
    note, froze, stop, frame = lines(path)
    assert passed == [Note("one"), Froze("periodic_000", 100.0, 1.5, 13, None)]
    assert {line["run"] for line in lines(path)} == {"run-1"}
    assert (note["event"], note["text"]) == ("Note", "one")
    assert (froze["event"], froze["paused_ms"]) == ("Froze", 1.5)
    assert (stop["event"], stop["name"], stop["at_us"]) == ("qmp", "STOP", 5)
    assert (frame["type"], frame["sequence"], frame["size"]) == ("HELLO", 3, 3)


def test_the_consoles_filter_does_not_reach_the_file(tmp_path: Path) -> None:
    configure_logging(verbose=False)
    with open_journal(tmp_path / "harness.log", "r") as found:
        found.log("quiet on the console")
    assert len(lines(tmp_path / "harness.log")) == 1


def test_a_flood_stops_at_the_limit(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(journal, "MAX_LINES", 10)
    with open_journal(tmp_path / "harness.log", "r") as found:
        for n in range(50):
            found.log("x", n=n)
    assert [line["n"] for line in lines(tmp_path / "harness.log")] == list(range(10))
