# SPDX-License-Identifier: GPL-2.0-only
"""A scheduler or a worker for tests, as a process: ``scheduler``, or ``worker ADDRESS NAME CACHE``.

A worker's runs are made by ``fake_child.py``. It says ``ready ADDRESS`` and ends with its standard
input, so that none outlives its test.
"""

import os
import sys
import threading
from pathlib import Path

import anyio

from ktstr.fleet import worker as service
from ktstr.fleet.join import Offer, joined
from ktstr.fleet.scheduler import scheduling
from ktstr.fleet.security import Tls

CHILD = (sys.executable, str(Path(__file__).with_name("fake_child.py")))


def tls_of(words: list[str]) -> Tls | None:
    return Tls(*map(Path, words)) if words else None


async def scheduler(*tls: str) -> None:
    async with scheduling("127.0.0.1", 0, tls_of([*tls])) as found:
        print("ready", found.address, flush=True)
        await anyio.sleep_forever()


async def worker(address: str, name: str, cache: str, cpus: str, obstacle: str, *tls: str) -> None:
    await anyio.Path(cache).mkdir(parents=True, exist_ok=True)
    host = service.Host(name, Path(cache), int(cpus), 4096, obstacle, "tcg", CHILD)
    async with joined(address, host, Offer(), tls_of([*tls])) as found:
        print("ready", found.address, flush=True)
        await found.finished()


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    anyio.run({"scheduler": scheduler, "worker": worker}[sys.argv[1]], *sys.argv[2:])
