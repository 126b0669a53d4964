# SPDX-License-Identifier: GPL-2.0-only
"""What a run has left on disk, as far as its row names it and it lies where it may."""

import os
import stat
import sys
import tarfile
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, BinaryIO, Final

import anyio
import anyio.to_thread
import structlog
from anyio import open_process
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ktstr.daemon.api.service import Service, inside
from ktstr.daemon.problems import Problem
from ktstr.daemon.submission import OWN_FOLDER, RunRow

log = structlog.get_logger()

CHUNK: Final = 256 << 10
MAX_FILES: Final = 10_000
RENDER_TIMEOUT_S: Final = 60.0
MAX_PAGE: Final = 64 << 20
MAX_SAID: Final = 2000

TYPES: Final = {
    "sidecar": "application/json",
    "evidence": "application/x-tar",
    "checkpoint": "application/octet-stream",
    "page": "text/html; charset=utf-8",
    "data": "application/json",
}
"""What can be fetched of a run, and what it is."""


async def sidecar(request: Request, service: Service) -> Response:
    """The run's record."""
    row = await service.row(request.path_params["run_id"])
    return _file(row, _existing(row, row.sidecar, "record"), "sidecar")


async def checkpoint(request: Request, service: Service) -> Response:
    """The guest as it was kept in a file."""
    row = await service.row(request.path_params["run_id"])
    return _file(row, _existing(row, row.checkpoint, "checkpoint"), "checkpoint")


async def evidence(request: Request, service: Service) -> Response:
    """The folder of evidence, as a tar stream."""
    row = await service.row(request.path_params["run_id"])
    folder = _existing(row, row.evidence, "evidence", folder=True)
    return StreamingResponse(
        _tar(folder), media_type=TYPES["evidence"], headers=_named(row, "evidence.tar")
    )


async def page(request: Request, service: Service) -> Response:
    """The run as one HTML page that needs no network."""
    return await _rendered(request, service, "page")


async def data(request: Request, service: Service) -> Response:
    """What the page draws."""
    return await _rendered(request, service, "data")


def _existing(row: RunRow, path: Path | None, what: str, *, folder: bool = False) -> Path:
    """``path``, if the run has it and it lies in a folder of the run.

    :raise Problem: when it has none, or not any more.
    """
    if path is None:
        hint = "it comes at the end" if not row.state.over else "GET the run: error says why"
        raise Problem(404, f"the run {row.id} has no {what}: it is {row.state}", hint)
    options = row.submission.options
    own = options.out_dir if options.out_dir != OWN_FOLDER else None
    if not inside(path, row.folder, own):
        raise Problem(404, f"the {what} of {row.id} does not lie in a folder of the run")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        why = error.strerror or "it is gone"
        raise Problem(404, f"the {what} of {row.id} cannot be read: {why}") from None
    if not (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)):
        raise Problem(404, f"the {what} of {row.id} is no {'folder' if folder else 'file'}")
    return path


def _named(row: RunRow, suffix: str) -> dict[str, str]:
    # Run ids are digits and dashes: nothing here needs quoting.
    return {"Content-Disposition": f'attachment; filename="{row.id}.{suffix}"'}


def _file(row: RunRow, path: Path, what: str) -> Response:
    try:
        # The file that was checked is the one that is read, whatever its name means meanwhile.
        opened = path.open("rb", buffering=0)
    except OSError as error:
        why = error.strerror or "it is gone"
        raise Problem(404, f"the {what} of {row.id} cannot be read: {why}") from None
    size = os.fstat(opened.fileno()).st_size
    headers = {"Content-Length": str(size)}
    if what != "sidecar":
        headers |= _named(row, path.suffix.lstrip(".") or what)
    return StreamingResponse(_blocks(opened, size), media_type=TYPES[what], headers=headers)


async def _blocks(opened: BinaryIO, size: int) -> AsyncGenerator[bytes, None]:
    with opened:
        while size > 0:
            block = await anyio.to_thread.run_sync(opened.read, min(CHUNK, size))
            if not block:
                return
            size -= len(block)
            yield block


async def _tar(folder: Path) -> AsyncGenerator[bytes, None]:
    steps = _tarred(folder)
    while True:
        part = await anyio.to_thread.run_sync(next, steps, None)
        if part is None:
            return
        yield part


def _tarred(folder: Path) -> Iterator[bytes]:
    """A tar (POSIX.1-2001) of the folder's files: no links, no devices, no owners.

    Each file is as long as it was when it was opened, and none is in memory whole.
    """
    for path in _files(folder):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            continue
        with open(fd, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                continue
            info = tarfile.TarInfo(str(path.relative_to(folder.parent)))
            info.size, info.mtime, info.mode = found.st_size, int(found.st_mtime), 0o644
            yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            left = info.size
            while left > 0:
                # What has become shorter meanwhile ends in zeros: the head has promised a length.
                block = file.read(min(CHUNK, left)) or bytes(min(CHUNK, left))
                left -= len(block)
                yield block
            yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for base, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            count += 1
            if count > MAX_FILES:
                return
            yield Path(base, name)


async def _rendered(request: Request, service: Service, what: str) -> Response:
    row = await service.row(request.path_params["run_id"])
    path = _existing(row, row.sidecar, "record")
    async with service.rendering:
        body = await _output_of(what, path, row)
    return Response(body, media_type=TYPES[what], headers={"Content-Security-Policy": _POLICY})


_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
)


async def _output_of(what: str, path: Path, row: RunRow) -> bytes:
    """What a process of its own makes of the record: its imports would double the daemon.

    :raise Problem: when it fails, or takes too long.
    """
    argv = [sys.executable, "-m", "ktstr.daemon.render", what, str(path)]
    found = bytearray()
    with tempfile.TemporaryFile() as said, anyio.move_on_after(RENDER_TIMEOUT_S) as scope:
        async with await open_process(argv, stdin=DEVNULL, stdout=PIPE, stderr=said) as child:
            assert child.stdout is not None
            try:
                async for part in child.stdout:
                    found += part
                    if len(found) > MAX_PAGE:
                        break
                else:
                    if await child.wait() == 0:
                        return bytes(found)
            finally:
                if child.returncode is None:
                    child.kill()
        _log_failure(row, said)
    why = f"took longer than {RENDER_TIMEOUT_S:.0f} s" if scope.cancelled_caught else "failed"
    raise Problem(
        500,
        f"making the {what} of {row.id} {why}",
        f"`ktstr show {path}` says what is wrong with the record; the daemon's log has the rest",
    )


def _log_failure(row: RunRow, said: IO[bytes]) -> None:
    said.seek(max(0, said.seek(0, os.SEEK_END) - MAX_SAID))
    log.error("no page", run=row.id, said=said.read().decode(errors="replace"))
