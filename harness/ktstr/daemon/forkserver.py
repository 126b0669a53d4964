# SPDX-License-Identifier: GPL-2.0-only
"""The process that the processes of runs are forked from, with all that a run needs imported.

``python -m ktstr.daemon.forkserver FD MODULE``, with a SOCK_SEQPACKET socket as FD. It imports
MODULE, calls its ``prepare()`` and says ``{"ready": true}``. For each packet that carries three
descriptors (commands, events, log) it forks a process that calls ``MODULE.main(events)``, with
commands as standard input and the log as standard output and error, and answers ``{"pid": N}``
with a descriptor of that process. When the process has ended it says ``{"exit": N, "status": S}``,
S negative for a signal. It ends when the socket does.

It has one thread and no event loop, so that a fork copies nothing that is half done.
"""

import faulthandler
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

DESCRIPTORS = 3
CRASHED = 70


def serve(sock: socket.socket, work: Callable[[int], int]) -> None:
    """Fork on demand, and tell of ends, until the other side closes."""
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    children: dict[int, int] = {}
    _say(sock, {"ready": True})
    while True:
        for ready, _ in poller.poll():
            if ready != sock.fileno():
                poller.unregister(ready)
                _buried(sock, children.pop(ready), ready)
                continue
            data, descriptors, _, _ = socket.recv_fds(sock, 4096, DESCRIPTORS)
            if not data:
                return
            if len(descriptors) != DESCRIPTORS:
                raise RuntimeError(f"a request carries {len(descriptors)} descriptors")
            pid = os.fork()
            if not pid:
                sock.close()
                for other in children:
                    os.close(other)
                _become(work, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            pidfd = os.pidfd_open(pid)
            children[pidfd] = pid
            poller.register(pidfd, select.POLLIN)
            socket.send_fds(sock, [json.dumps({"pid": pid}).encode()], [pidfd])


def _become(work: Callable[[int], int], descriptors: list[int]) -> None:
    """The life of a forked process; does not return."""
    code = CRASHED
    try:
        commands, events, log = descriptors
        os.setsid()
        os.dup2(commands, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(commands)
        os.close(log)
        faulthandler.enable()
        code = work(events)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or CRASHED
        # Nothing of the parent's is to be tidied up here.
        os._exit(code)


def _buried(sock: socket.socket, pid: int, pidfd: int) -> None:
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)
    assert result is not None
    killed = result.si_code != os.CLD_EXITED
    _say(sock, {"exit": pid, "status": -result.si_status if killed else result.si_status})


def _say(sock: socket.socket, message: dict[str, Any]) -> None:
    sock.send(json.dumps(message).encode())


def main() -> None:
    """Serve on the socket that the command line names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=int(sys.argv[1]))
    module = importlib.import_module(sys.argv[2])
    module.prepare()
    # What is there now stays; a collection in a run would copy its pages for nothing.
    gc.collect()
    gc.freeze()
    try:
        serve(sock, module.main)
    except (BrokenPipeError, ConnectionResetError):
        # Who asked is gone.
        return


if __name__ == "__main__":
    main()
