# SPDX-License-Identifier: GPL-2.0-only
"""The sockets between a machine and its owner, and those it offers to people."""

import shutil
import socket
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from ktstr.vm.argv import escape

_UNIX_PATH_MAX = 107


def socket_pair(stack: AsyncExitStack) -> tuple[socket.socket, socket.socket]:
    """Our non-blocking end and QEMU's; closing twice does no harm."""
    ours, theirs = socket.socketpair()
    stack.callback(ours.close)
    stack.callback(theirs.close)
    ours.setblocking(False)
    return ours, theirs


def attach_sockets(stack: AsyncExitStack, run_dir: Path, *, gdb: bool) -> dict[str, Path]:
    """Paths for people's sockets, in the run folder when they fit into a socket address."""
    names = ("qmp", "console", *(("gdb",) if gdb else ()))
    folder = run_dir.absolute()
    if len(str(folder / "console.sock").encode()) > _UNIX_PATH_MAX:
        # Not where temporary files are: that may be the long path.
        folder = Path(tempfile.mkdtemp(prefix="ktstr-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
    paths = {name: folder / f"{name}.sock" for name in names}
    for path in paths.values():
        stack.callback(path.unlink, missing_ok=True)
    return paths


def server(path: Path) -> str:
    """The chardev backend that listens at ``path``."""
    return f"socket,path={escape(path)},server=on,wait=off"
