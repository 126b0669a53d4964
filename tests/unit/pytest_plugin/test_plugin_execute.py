# SPDX-License-Identifier: GPL-2.0-only
"""Runs in an event loop of their own: how they end, and how many there are at a time."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import anyio
import pytest
from tests.unit.pytest_plugin.project import Project, case_properties, cases

from ktstr.errors import HostUnfit
from ktstr.pytest_plugin import execute
from ktstr.pytest_plugin.execute import run_blocking, slot
from ktstr.pytest_plugin.request import RunRequest
from ktstr.session.events import Emit
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord

REQUEST = RunRequest(Path("x.toml"), RunOptions(), "test.py::test", 0, lambda event: None)


class Interrupted(Exception):
    """What a signal raises in the thread that waits."""


@pytest.fixture
def interrupting() -> Iterator[None]:
    """SIGUSR1 raises in the main thread, as Ctrl-C and pytest-timeout's signal do."""

    def raise_it(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, raise_it)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("interrupting")
def test_a_signal_cancels_the_run_and_waits_until_it_has_cleaned_up() -> None:
    seen: list[str] = []

    async def endless(path: Path, options: RunOptions, emit: Emit) -> RunRecord:
        seen.append(threading.current_thread().name)
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
                seen.append("cleaned up")
        raise AssertionError

    with pytest.raises(Interrupted):
        run_blocking(endless, REQUEST)
    assert seen[0] != threading.main_thread().name
    assert seen[1:] == ["cleaned up"]
    assert not any(thread.name == "ktstr run" for thread in threading.enumerate())


def test_what_a_run_raises_comes_as_it_is() -> None:
    async def refuses(path: Path, options: RunOptions, emit: Emit) -> RunRecord:
        raise HostUnfit("no")

    with pytest.raises(HostUnfit, match="no"):
        run_blocking(refuses, REQUEST)


def test_there_are_as_many_slots_as_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "SLOT_S", 0.0)
    none_free = pytest.raises(HostUnfit, match="none of the 2 guests that --ktstr-jobs allows")
    with slot(tmp_path, 2), slot(tmp_path, 2), none_free, slot(tmp_path, 2):
        pass
    with slot(tmp_path, 2), slot(tmp_path, 2):
        pass


def test_without_workers_or_without_a_limit_nobody_waits(tmp_path: Path) -> None:
    with slot(None, 1), slot(None, 1), slot(tmp_path, None):
        assert not list(tmp_path.iterdir())


@pytest.mark.timeout(120)
def test_workers_share_slots_and_tell_what_they_found(
    project: Project, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[3]
    inherited = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), inherited]))
    monkeypatch.setenv("TMPDIR", str(pytester.path))
    pytester.makeconftest(
        """
import os, time
from tests.unit.pytest_plugin.project import fake_run

def pytest_ktstr_run(request):
    # Two at a time would meet here.
    os.close(os.open(request.options.out_dir.parent / "alone", os.O_CREAT | os.O_EXCL))
    time.sleep(0.2)
    record = fake_run(request)
    (request.options.out_dir.parent / "alone").unlink()
    return record
"""
    )
    marks = "\n".join(
        f'@pytest.mark.ktstr("{name}.toml")\ndef test_{number}(ktstr): pass'
        for number, name in enumerate(["passes", "fails", "inconclusive", "lost"] * 2)
    )
    # Never more than one job, so every other run has an odd number.
    result = project(marks, "-n2", "--ktstr-jobs=1", "--junit-xml=out.xml", "-v")
    assert result.parseoutcomes() == {"passed": 2, "failed": 4, "errors": 2}
    assert "ktstr: 8 runs, 4 of cloned guests, 10.0 s in guests" in result.outlines
    result.stdout.fnmatch_lines(["*INCONCLUSIVE test_it.py::test_2*"])
    result.stdout.fnmatch_lines(["*GUEST LOST test_it.py::test_3*"])
    result.stdout.fnmatch_lines(["ktstr-run */fails.toml"])
    found = cases(pytester.path / "out.xml")
    verdicts = {name: case_properties(case)["verdict"] for name, case in found.items()}
    assert verdicts["test_0"] == "pass"
    assert verdicts["test_3"] == "guest lost"
    assert not list(pytester.path.glob("ktstr-slots-*"))
