# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr runs``: the daemon's queue and its latest runs; cancel, release, follow one."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from ktstr.cli.command_line import Command, Group
from ktstr.errors import CannotRun, ExitCode, KtstrError

if TYPE_CHECKING:
    from ktstr.daemon.client import Daemon, Message
    from ktstr.daemon.submission import RunRow

USUAL: Final = 20
MAX_ROWS: Final = 1000

BACK_TRIES: Final = 20
BACK_PAUSE_S: Final = 0.25
"""A daemon that tells nothing more is asked again for five seconds before it is given up."""


def _guarded(work: Callable[[], ExitCode]) -> None:
    """Do it, say what went wrong, and exit."""
    try:
        code = work()
    except KtstrError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    sys.exit(int(code))


def _daemon() -> "Daemon":
    """The daemon at the usual socket.

    :raise CannotRun: when there is none.
    """
    from ktstr.daemon.address import socket_path
    from ktstr.daemon.client import Daemon

    found = Daemon(socket_path())
    if not found.listens():
        raise CannotRun(f"no daemon listens at {found.path}", hint="start it with `ktstr serve`")
    return found


@click.group(cls=Group, invoke_without_command=True)
@click.option("-n", "count", type=click.IntRange(1, MAX_ROWS), default=USUAL, show_default=True)
@click.option("--state", metavar="STATE", help="Only runs in this state (queued,running,…).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def runs(context: click.Context, count: int, state: str | None, as_json: bool) -> None:
    """List the daemon's queue and its latest runs, newest first.

    Exit status: 0, or 4 when no daemon answers.
    """
    if context.invoked_subcommand is None:
        _guarded(lambda: _list(count, state, as_json))


def _list(count: int, state: str | None, as_json: bool) -> ExitCode:
    from urllib.parse import quote

    from ktstr.daemon.wire import row_from_json

    wanted = "" if state is None else f"&state={quote(state)}"
    found = _daemon().get(f"/v1/runs?limit={count}{wanted}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return ExitCode.PASS
    rows = [row_from_json(each) for each in found["runs"]]
    if not rows:
        click.echo("no runs")
    for line in table(rows, time.time()):
        click.echo(line)
    return ExitCode.PASS


def table(rows: "list[RunRow]", now: float) -> Iterator[str]:
    """A line for each run, with columns as wide as what is in them.

    :param now: seconds since 1970, UTC.
    """
    from ktstr.report.printable import one_line

    cells = [
        (
            row.id,
            row.verdict if row.verdict and row.state.value == "finished" else row.state.value,
            one_line(row.name, 60),
            row.submission.share
            + (f" {row.submission.priority:+d}" if row.submission.priority else ""),
            _times(row, now),
        )
        for row in rows
    ]
    widths = [max(len(line[at]) for line in cells) for at in range(5)] if cells else []
    for line in cells:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _times(row: "RunRow", now: float) -> str:
    began = row.started_at
    if began is None:
        until = row.ended_at if row.ended_at is not None else now
        return f"waits {_seconds(until - row.submitted_at)}"
    if row.ended_at is None:
        return f"for {_seconds(now - began)}"
    took, ago = _seconds(row.ended_at - began), _seconds(now - row.ended_at)
    return f"took {took}, {ago} ago"


def _seconds(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 100 * 3600 else f"{seconds / 86400:.0f} d"


def _named(daemon: "Daemon", text: str) -> str:
    """The id of the run whose id is, begins or ends with ``text``.

    :raise CannotRun: when it is none's, or several's.
    """
    from ktstr.daemon.wire import is_run_id

    if is_run_id(text):
        return text
    listed = daemon.get(f"/v1/runs?limit={MAX_ROWS}")["runs"]
    found = [each["id"] for each in listed if each["id"].startswith(text)]
    found += [
        each["id"] for each in listed if each["id"].endswith(text) and each["id"] not in found
    ]
    if len(found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise CannotRun(f"{text!r:.80} is the id of {what}", hint="`ktstr runs` lists the latest")
    return str(found[0])


@runs.command(cls=Command)
@click.argument("run_id", metavar="ID")
def cancel(run_id: str) -> None:
    """End a run, or take it out of the queue."""
    _guarded(lambda: _tell(run_id, "cancel"))


@runs.command(cls=Command)
@click.argument("run_id", metavar="ID")
def release(run_id: str) -> None:
    """Let the kept VM of a run go."""
    _guarded(lambda: _tell(run_id, "release"))


def _tell(text: str, what: str) -> ExitCode:
    from ktstr.daemon.wire import row_from_json

    daemon = _daemon()
    run_id = _named(daemon, text)
    row = row_from_json(daemon.post(f"/v1/runs/{run_id}/{what}"))
    click.echo(f"{run_id}: {row.state.value}{'' if row.state.over else ', told to end'}")
    return ExitCode.PASS


@runs.command(cls=Command)
@click.argument("run_id", metavar="ID")
def follow(run_id: str) -> None:
    """Show what happens in a run, and how it ends; Ctrl-C leaves it alone.

    Exit status: as `ktstr-run` has for the run's verdict.
    """
    _guarded(lambda: _follow(run_id))


def _follow(text: str) -> ExitCode:
    from rich.console import Console

    from ktstr.cli.screen import Screen, open_standard_streams
    from ktstr.daemon.wire import EVENTS, row_from_json
    from ktstr.report.plain import PlainProgress

    open_standard_streams()
    screen = Screen(sys.stdout)
    progress = PlainProgress(screen.text)
    daemon = _daemon()
    run_id = _named(daemon, text)
    for message in _messages(daemon, run_id):
        if message.kind in EVENTS:
            _show(progress, message.kind, message.data)
        elif message.kind == "state" and message.data.get("state") == "queued":
            screen.text.write("queued\n")
        elif message.kind == "end":
            return _ended(Console(file=screen.text, soft_wrap=True), row_from_json(message.data))
    raise CannotRun(
        f"the daemon ended before {run_id} had", hint="start it again and follow once more"
    )


def _messages(daemon: "Daemon", run_id: str) -> "Iterator[Message]":
    """What happens in the run, until the daemon ends.

    A daemon that lives drops a follower whose connection took nothing for a while: the follower
    comes again, and goes on after what it has seen.
    """
    from ktstr.daemon.client import DaemonLost

    seen = silent = 0
    while silent < BACK_TRIES:
        before, closing = seen, False
        try:
            with daemon.follow(f"/v1/runs/{run_id}/events", seen) as stream:
                for message in stream:
                    seen = seen if message.seq is None else message.seq
                    closing = message.kind == "closing"
                    yield message
        except DaemonLost:
            if not daemon.listens():
                return
        if closing:
            return
        silent = 0 if seen > before else silent + 1
        time.sleep(BACK_PAUSE_S)
    raise CannotRun(
        f"the daemon tells nothing more of {run_id}", hint="`ktstr runs` says how it stands"
    )


def _show(progress: Any, kind: str, data: Any) -> None:
    from ktstr.daemon.wire import event_from_json
    from ktstr.errors import RequestInvalid
    from ktstr.session.events import Reading

    try:
        event = event_from_json({**{k: v for k, v in data.items() if k != "at"}, "type": kind})
    except RequestInvalid:
        return
    if not isinstance(event, Reading):
        progress(event)


def _ended(console: Any, row: "RunRow") -> ExitCode:
    from ktstr.report.printable import one_line
    from ktstr.report.verdict import Sections, print_record
    from ktstr.session.sidecar.read import read_sidecar

    if row.sidecar is not None:
        print_record(console, read_sidecar(row.sidecar), Sections())
        return ExitCode(row.exit_code if row.exit_code is not None else ExitCode.CANNOT_RUN)
    said = [
        line
        for text in (row.error, row.hint and f"hint: {row.hint}")
        if text
        for line in text.splitlines()
    ]
    console.print(f"{row.id}: {row.verdict or row.state.value}", markup=False, highlight=False)
    for line in said:
        console.print(f"  {one_line(line)}", markup=False, highlight=False)
    code = row.exit_code
    return ExitCode.CANNOT_RUN if code is None else ExitCode(code)
