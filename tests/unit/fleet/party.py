# SPDX-License-Identifier: GPL-2.0-only
"""Schedulers and workers for tests, each a process, forked from one that has imported all.

A line of JSON on standard input starts one: ``["scheduler", …]`` or ``["worker", ADDRESS, NAME,
CACHE, CPUS, OBSTACLE, …]``, with the files of TLS at the end. It answers with a line ``PID
ADDRESS``. All of them end with it, and it ends with its standard input. A worker's runs are made by
``fake_child.py``.
"""

import ctypes
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import anyio
import distributed  # noqa: F401  before the fork

from ktstr.fleet import worker as service
from ktstr.fleet.join import Offer, joined
from ktstr.fleet.scheduler import scheduling
from ktstr.fleet.security import Tls
from ktstr.fleet.versions import source_digest

CHILD = (sys.executable, str(Path(__file__).with_name("fake_child.py")))
PR_SET_PDEATHSIG = 1


def tls_of(words: tuple[str, ...]) -> Tls | None:
    return Tls(*map(Path, words)) if words else None


async def scheduler(*tls: str) -> None:
    async with scheduling("127.0.0.1", 0, tls_of(tls)) as found:
        print(os.getpid(), found.address, flush=True)
        await anyio.sleep_forever()


async def worker(address: str, name: str, cache: str, cpus: str, obstacle: str, *tls: str) -> None:
    await anyio.Path(cache).mkdir(parents=True, exist_ok=True)
    host = service.Host(name, Path(cache), int(cpus), 4096, obstacle, "tcg", CHILD)
    async with joined(address, host, Offer(), tls_of(tls)) as found:
        print(os.getpid(), found.address, flush=True)
        await found.finished()


def main() -> None:
    source_digest()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        if os.fork():
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        status = 0
        try:
            what, *words = json.loads(line)
            anyio.run({"scheduler": scheduler, "worker": worker}[what], *words)
        except BaseException:
            traceback.print_exc()
            print("0 failed", flush=True)
            status = 1
        os._exit(status)


if __name__ == "__main__":
    main()
