# SPDX-License-Identifier: GPL-2.0-only
"""The command line of ktstr-run: instant help, options, exit status, outputs that vanish."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from click.testing import CliRunner

from ktstr.cli import runner as runner_module
from ktstr.cli.keep import announce
from ktstr.cli.main import main as ktstr
from ktstr.cli.run import main as ktstr_run
from ktstr.cli.runner import run_to_end
from ktstr.cli.screen import Screen
from ktstr.errors import ExitCode, GuestBuildFailed, HostUnfit
from ktstr.session.events import Note
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertDetail, AssertResult, DetailKind
from ktstr.vm.events import MachineEnd


@pytest.mark.parametrize("module", ["ktstr.cli.run", "ktstr.cli.main"])
def test_help_needs_none_of_the_heavy_packages(module: str) -> None:
    script = (
        f"import sys, {module}\n"
        "heavy = {'numpy', 'pydantic', 'rich', 'anyio', 'drgn', 'msgpack', 'structlog', 'qemu'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_help_tells_the_exit_status() -> None:
    done = CliRunner().invoke(ktstr_run, ["--help"])
    assert done.exit_code == 0
    assert "3 guest lost" in done.output and "--keep-vm" in done.output
    assert "ktstr-run" in CliRunner().invoke(ktstr, ["--help"]).output


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["a.toml", "--all"],
        ["a.toml", "--filter", "x"],
        ["--filter", "nothing in the catalogue has this"],
        ["a.toml", "b.toml", "--keep-vm"],
        ["--all", "--keep-vm"],
        ["a.toml", "b.toml", "--jobs", "0"],
        ["a.toml", "--nonsense"],
        ["a.toml", "--accel", "xen"],
        ["a.toml", "--timeout", "0"],
        ["a.toml", "--timeout", "-1"],
        ["a.toml", "--timeout", "nan"],
        ["a.toml", "--timeout", "soon"],
        ["a.toml", "--out", __file__],
    ],
)
@pytest.mark.parametrize("program", [(ktstr_run, []), (ktstr, ["run"])], ids=["ktstr-run", "ktstr"])
def test_a_bad_command_line_is_no_verdict(args: list[str], program: Any) -> None:
    command, before = program
    done = CliRunner().invoke(command, [*before, *args])
    assert done.exit_code == ExitCode.CANNOT_RUN
    assert "Error: " in done.output and "Usage: " in done.output


def test_options_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def note(scenario: Path, options: RunOptions, *, as_json: bool, **more: Any) -> ExitCode:
        seen.append((scenario, options, as_json, more))
        return ExitCode.INCONCLUSIVE

    monkeypatch.setattr(runner_module, "run_to_end", note)
    line = "s.toml --kernel host --topology 1n1l2c1t --scheduler none --accel tcg --timeout 2.5"
    flags = [
        "--out",
        "o",
        "--keep-vm",
        "--json",
        "-v",
        "--html",
        "p.html",
        "--perfetto",
        "t.pftrace",
    ]
    kept = ["--checkpoint-on-fail", "--checkpoint-at", "2"]
    done = CliRunner().invoke(ktstr_run, [*line.split(), *flags, *kept])
    assert done.exit_code == 2
    options = RunOptions(
        kernel="host",
        topology="1n1l2c1t",
        scheduler="none",
        accel="tcg",
        timeout_s=2.5,
        out_dir=Path("o"),
        checkpoint_on_fail=True,
        checkpoint_at="2",
        keep_vm=True,
        verbose=True,
    )
    files = {"html_file": Path("p.html"), "perfetto_file": Path("t.pftrace")}
    assert seen == [(Path("s.toml"), options, True, {"daemon": True, **files})]
    assert CliRunner().invoke(ktstr_run, ["s.toml", "--no-daemon"]).exit_code == 2
    assert seen[1][3] == {"daemon": False, "html_file": None, "perfetto_file": None}


def run(
    monkeypatch: pytest.MonkeyPatch, scenario: Any, *, as_json: bool = False, **options: Any
) -> ExitCode:
    monkeypatch.setattr(runner_module, "run_scenario", scenario)
    return run_to_end(Path("s.toml"), RunOptions(**options), as_json=as_json)


def passed() -> RunRecord:
    result = AssertResult()
    result.record_pass()
    return RunRecord("id", "demo", ExitCode.PASS, result)


async def passes(path: Path, options: RunOptions, emit: Any, keep: Any) -> RunRecord:
    emit(Note("hello"))
    return passed()


def test_a_pass_exits_zero(monkeypatch: Any, capfd: Any) -> None:
    assert run(monkeypatch, passes) == ExitCode.PASS
    assert capfd.readouterr().out == "hello\n\nPASS  demo  exit 0\n"


def test_json_is_alone_on_stdout(monkeypatch: Any, capfd: Any) -> None:
    assert run(monkeypatch, passes, as_json=True) == ExitCode.PASS
    out, err = capfd.readouterr()
    assert json.loads(out)["verdict"] == "pass"
    assert err == "hello\nPASS  demo  exit 0\n"


def test_json_tells_people_the_verdict_and_why(monkeypatch: Any, capfd: Any) -> None:
    async def fails(path: Path, options: RunOptions, emit: Any, keep: Any) -> RunRecord:
        result = AssertResult()
        result.record_inconclusive(AssertDetail(DetailKind.OTHER, "no report"))
        result.record_fail(AssertDetail(DetailKind.STUCK, "gap\x1b[2J"))
        return RunRecord("id", "demo", ExitCode.FAIL, result)

    assert run(monkeypatch, fails, as_json=True) == ExitCode.FAIL
    out, err = capfd.readouterr()
    assert json.loads(out)["verdict"] == "fail"
    assert err == "FAIL  demo  exit 1\n  [Stuck] gap?[2J (and 1 more)\n"


def test_json_tells_people_of_a_lost_guest(monkeypatch: Any, capfd: Any) -> None:
    async def lost(path: Path, options: RunOptions, emit: Any, keep: Any) -> RunRecord:
        return RunRecord("id", "demo", ExitCode.GUEST_LOST, error="it panicked\n  hint: read")

    assert run(monkeypatch, lost, as_json=True) == ExitCode.GUEST_LOST
    assert capfd.readouterr().err == "GUEST LOST  demo  exit 3\n  it panicked\n"


def test_json_shows_what_could_not_be_written_to_people(monkeypatch: Any, capfd: Any) -> None:
    async def full(path: Path, options: RunOptions, emit: Any, keep: Any) -> RunRecord:
        record = passed()
        record.output_error, record.exit_code = "the disk is full", ExitCode.CANNOT_RUN
        return record

    assert run(monkeypatch, full, as_json=True) == ExitCode.CANNOT_RUN
    assert "error: the disk is full" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (HostUnfit("no QEMU", hint="get one"), "error: no QEMU\n  hint: get one\n"),
        (OSError(28, "No space left on device", "/tmp/x"), "No space left on device: '/tmp/x'\n"),
        (ZeroDivisionError("oops"), "no verdict on the scheduler\n"),
    ],
)
def test_an_error_is_no_verdict(monkeypatch: Any, capfd: Any, error: Any, words: str) -> None:
    async def fails(path: Path, options: RunOptions, emit: Any, keep: Any) -> RunRecord:
        raise error

    assert run(monkeypatch, fails) == ExitCode.CANNOT_RUN
    out = capfd.readouterr().out
    assert out.endswith(words)
    assert ("Traceback" in out) == isinstance(error, ZeroDivisionError)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_two_signals_clean_up_once_and_whole(monkeypatch: Any, capfd: Any, number: int) -> None:
    steps: list[str] = []

    async def cleans_up(path: Path, options: RunOptions, emit: Any, keep: Any) -> RunRecord:
        os.kill(os.getpid(), number)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                os.kill(os.getpid(), number)
                await anyio.sleep(0.05)
                os.kill(os.getpid(), signal.SIGINT)
                await anyio.sleep(0.05)
                steps.append("clean")
        raise AssertionError("not reached")

    assert run(monkeypatch, cleans_up) == ExitCode.INTERRUPTED
    assert steps == ["clean"]
    assert capfd.readouterr().out == "interrupted; everything is cleaned up\n"


def test_what_a_signal_breaks_is_an_interruption(monkeypatch: Any, capfd: Any) -> None:
    async def compiles(path: Path, options: RunOptions, emit: Any, keep: Any) -> RunRecord:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await anyio.sleep_forever()
        finally:
            raise GuestBuildFailed("make: Interrupt")

    assert run(monkeypatch, compiles) == ExitCode.INTERRUPTED
    out = capfd.readouterr().out
    assert "make" not in out and "interrupted" in out


def test_an_interrupt_outside_the_run_is_one_too(monkeypatch: Any) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> ExitCode:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner_module, "run_to_end", interrupted)
    assert CliRunner().invoke(ktstr_run, ["s.toml"]).exit_code == 130


DRIVER = """
import sys
from pathlib import Path
from ktstr.cli import runner
from ktstr.errors import ExitCode
from ktstr.session.events import Note
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertResult

async def run_scenario(path, options, emit, keep):
    for n in range(20000):
        emit(Note(f"line {n} \\u2713 \\udcff"))
    result = AssertResult()
    result.record_pass()
    print("ran to its end", file=sys.stderr)
    return RunRecord("id", "demo", ExitCode.PASS, result)

runner.run_scenario = run_scenario
sys.exit(int(runner.run_to_end(Path("s"), RunOptions(), as_json="--json" in sys.argv)))
"""


def drive(shell: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the driver as ``$RUN`` in a shell; the last line of stderr is its exit status."""
    return subprocess.run(
        ["bash", "-c", shell],
        env={**os.environ, "RUN": sys.executable, "DRIVER": DRIVER, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_reader_that_leaves_changes_no_verdict() -> None:
    done = drive('"$RUN" -c "$DRIVER" | head -1; exit ${PIPESTATUS[0]}')
    assert (done.returncode, done.stderr) == (0, "ran to its end\n")
    assert done.stdout.startswith("line 0")


def test_a_full_disk_below_the_output_changes_no_verdict() -> None:
    done = drive('"$RUN" -c "$DRIVER" > /dev/full')
    assert (done.returncode, done.stderr) == (0, "ran to its end\n")


def test_a_record_that_cannot_be_printed_is_an_error() -> None:
    done = drive('"$RUN" -c "$DRIVER" --json > /dev/full')
    assert done.returncode == ExitCode.CANNOT_RUN
    assert done.stderr.endswith("error: the record cannot be printed: No space left on device\n")


def test_closed_outputs_change_no_verdict() -> None:
    done = drive('"$RUN" -c "$DRIVER" >&- 2>&-')
    assert done.returncode == 0


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_any_locale_can_show_any_text(env: dict[str, str]) -> None:
    done = drive('"$RUN" -c "$DRIVER" | tail -1', **env)
    assert done.stdout == "PASS  demo  exit 0\n"


def test_a_screen_on_a_stream_without_a_descriptor_is_that_stream(capsys: Any) -> None:
    screen = Screen(sys.stdout)
    assert screen.text is sys.stdout
    assert screen.failure is None


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def print(self, text: str, **how: Any) -> None:
        self.lines.append(text)


def kept(tmp_path: Path, end: MachineEnd | None) -> Any:
    class Machine:
        console_log = tmp_path / "console.log"
        sockets: ClassVar = {"qmp": tmp_path / "q.sock", "console": tmp_path / "c.sock"}
        pid = 42

        class ram:
            fds = (3,)
            segments = ()

    class Live:
        machine: Any = Machine()

        class recorder:
            hello = None

    Live.machine.end = end
    return Live()


def test_a_kept_vm_is_announced_ready_to_paste(tmp_path: Path) -> None:
    told: Any = Told()
    assert announce(told, kept(tmp_path, None))
    assert told.lines[0] == "the VM is kept, paused (QEMU pid 42); Ctrl-C ends it"
    assert [line.split(":")[0].strip() for line in told.lines[1:]] == [
        "QMP",
        "serial console",
        "drgn prompt",
        "resume",
    ]
    facts = json.loads((tmp_path / "debug.json").read_text())
    assert (facts["pid"], facts["fds"], facts["vmcoreinfo"]) == (os.getpid(), [3], None)


def test_a_vm_whose_qemu_is_dead_is_not_kept(tmp_path: Path) -> None:
    told: Any = Told()
    end = MachineEnd("qemu-exit", "QEMU was killed by SIGKILL", -9)
    assert not announce(told, kept(tmp_path, end))
    assert told.lines == ["no VM is kept: QEMU was killed by SIGKILL"]


def test_a_full_disk_does_not_hinder_keeping(tmp_path: Path) -> None:
    (tmp_path / "debug.json").mkdir()
    told: Any = Told()
    assert announce(told, kept(tmp_path, MachineEnd("guest-panic", "boom")))
    assert "paused after guest-panic" in told.lines[0]
    assert "no drgn prompt" in told.lines[1]
