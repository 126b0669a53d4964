# SPDX-License-Identifier: GPL-2.0-only
"""Programs of the user's, real processes here, in a folder that stands for a cgroup."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent.cgroups import Cgroups
from agent.loop import Loop
from agent.payloads import Payloads
from ktstr.wire import MsgType

LONG_S = 30.0


class Bench:
    """Payloads with a cgroup root that is a plain folder."""

    def __init__(self, folder: Path, loop: Loop, heard: Any) -> None:
        self.folder, self.loop, self.heard = folder, loop, heard
        (folder / "cgroup.procs").touch()
        (folder / "ktstr" / "inner").mkdir(parents=True)
        (folder / "ktstr" / "inner" / "cgroup.procs").touch()
        self.payloads = Payloads(loop, heard, Cgroups(loop, root=str(folder)))

    def run(self, name: str, code: str, cgroup: str | None = None, step: int = 1) -> None:
        argv = [sys.executable, "-c", code]
        self.payloads.run({"name": name, "argv": argv, "cgroup": cgroup}, step)

    def wait(self, name: str) -> None:
        assert self.loop.run(time.monotonic() + LONG_S, lambda: self.payloads.ended(name))

    def results(self) -> dict[str, dict[str, Any]]:
        return {fields["name"]: fields for fields in self.heard.of(MsgType.PAYLOAD_RESULT)}


@pytest.fixture
def bench(tmp_path: Path, loop: Loop, heard: Any, open_fds: None) -> Bench:
    return Bench(tmp_path, loop, heard)


def test_what_it_says_and_how_it_ends(bench: Bench) -> None:
    bench.run("p", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    bench.wait("p")
    bench.payloads.finish("p", "not needed")
    result = bench.results()["p"]
    assert result.pop("wall_ms") > 0
    assert result == {
        "name": "p",
        "step": 1,
        "killed": None,
        "exit": {"kind": "Exited", "code": 3},
        "stdout": b"out\n",
        "stderr": b"err\n",
        "cut": False,
    }


def test_it_enters_its_cgroup_before_it_begins(bench: Bench) -> None:
    procs = bench.folder / "ktstr" / "inner" / "cgroup.procs"
    bench.run("p", f"print(open({str(procs)!r}).read())", cgroup="inner")
    bench.wait("p")
    bench.payloads.finish("p", "")
    # "0" is the writer itself in a real cgroup.
    assert bench.results()["p"]["stdout"] == b"0\n"
    assert (bench.folder / "cgroup.procs").read_text() == ""


def test_it_leads_a_group_of_its_own_and_takes_signals_as_usual(bench: Bench) -> None:
    code = "import os, signal; print(os.getpgid(0) == os.getpid(), flush=True); "
    bench.run("p", code + "os.kill(os.getpid(), signal.SIGPIPE)")
    bench.wait("p")
    bench.payloads.finish("p", "")
    # The interpreter itself ignores SIGPIPE, so the death would not show; the group does.
    assert bench.results()["p"]["stdout"] == b"True\n"


def test_a_killed_one_takes_its_children_along(bench: Bench) -> None:
    code = "import os, time; print(os.fork(), flush=True); time.sleep(60)"
    bench.run("p", code)
    payload = bench.payloads._running["p"]
    assert bench.loop.run(time.monotonic() + LONG_S, lambda: payload.stdout.data.count(b"\n") == 2)
    bench.payloads.finish("p", "KillPayload")
    result = bench.results()["p"]
    assert (result["killed"], result["exit"]) == ("KillPayload", {"kind": "Signaled", "signal": 9})
    child = max(int(line) for line in result["stdout"].split())
    deadline = time.monotonic() + LONG_S
    while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:
        time.sleep(0.01)
        state = Path(f"/proc/{child}/stat")
        if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
            break
    else:
        assert not os.path.exists(f"/proc/{child}")


def test_output_is_kept_up_to_a_limit_and_read_beyond(bench: Bench) -> None:
    bench.run("p", "import sys; sys.stdout.write('x' * (3 << 20)); sys.stdout.flush()")
    bench.wait("p")
    bench.payloads.finish("p", "")
    result = bench.results()["p"]
    assert result["exit"] == {"kind": "Exited", "code": 0}
    assert (len(result["stdout"]), result["cut"]) == (1 << 20, True)


def test_a_program_that_cannot_start_says_so(bench: Bench) -> None:
    bench.payloads.run({"name": "p", "argv": ["/nowhere/at/all"], "cgroup": None}, 1)
    bench.wait("p")
    bench.payloads.finish("p", "")
    result = bench.results()["p"]
    assert result["exit"] == {"kind": "Exited", "code": 127}
    assert result["stderr"] == b"/nowhere/at/all did not start: No such file or directory\n"


def test_a_cgroup_that_is_not_there_is_an_error_that_leaks_nothing(bench: Bench) -> None:
    with pytest.raises(FileNotFoundError):
        bench.run("p", "", cgroup="missing")
    assert bench.payloads._running == {}


def test_steps_end_what_they_started(bench: Bench) -> None:
    for step in (0, 1):
        bench.run(f"p{step}", "import time; time.sleep(60)", step=step)
    bench.payloads.end_step(1)
    assert list(bench.results()) == ["p1"]
    with pytest.raises(ValueError, match="'p0' runs already"):
        bench.run("p0", "")
    bench.payloads.end_all()
    assert bench.results()["p0"]["killed"] == "the scenario ended"
    with pytest.raises(ValueError, match="no payload 'p0'"):
        bench.payloads.finish("p0", "")
