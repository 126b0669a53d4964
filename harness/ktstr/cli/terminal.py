# SPDX-License-Identifier: GPL-2.0-only
"""The user's terminal while a guest has it: raw, restored whatever happens, with an escape."""

import os
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Final

import anyio

from ktstr.session.program import Size

ESCAPE: Final = 0x1D
"""Ctrl-]: no shell uses it, and QEMU's and telnet's users know it."""

RESET: Final = b"\x1b[?1049l\x1b[?25h\x1b[0m\r\n"
"""Leaves what a program may have left on: the second screen, a hidden cursor, colours."""

_READ_SIZE: Final = 16 * 1024
_DEFAULT: Final = Size(24, 80)


class Action(Enum):
    """What an escape asks for."""

    LEAVE = "leave"
    CONSOLE = "console"
    HELP = "help"


_ACTIONS: Final = {
    ord("q"): Action.LEAVE,
    ord("c"): Action.CONSOLE,
    ord("?"): Action.HELP,
}

HELP: Final = (
    "Ctrl-] q leaves and ends the guest; Ctrl-] c shows the end of its kernel log; "
    "Ctrl-] Ctrl-] sends Ctrl-]"
)


class Escapes:
    """Finds escapes in what is typed; one may be split over two reads."""

    def __init__(self) -> None:
        self._open = False

    def feed(self, typed: bytes) -> Iterator[bytes | Action]:
        """The bytes for the guest and the actions, in their order.

        After Ctrl-], a key without a meaning goes to the guest together with it.
        """
        rest = bytearray()
        for key in typed:
            if not self._open:
                if key == ESCAPE:
                    self._open = True
                else:
                    rest.append(key)
                continue
            self._open = False
            action = _ACTIONS.get(key)
            if action is None:
                rest += bytes([key]) if key == ESCAPE else bytes([ESCAPE, key])
                continue
            if rest:
                yield bytes(rest)
                rest.clear()
            yield action
        if rest:
            yield bytes(rest)


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """The terminal passes every key on, Ctrl-C too, until the block ends in whatever way."""
    saved = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSANOW)
    try:
        yield
    finally:
        # A terminal that has hung up has nothing to restore.
        with suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


def size_of(descriptor: int) -> Size:
    """A terminal's size; 24 by 80 where it does not know."""
    try:
        found = os.get_terminal_size(descriptor)
    except OSError:
        return _DEFAULT
    return Size(found.lines or _DEFAULT.rows, found.columns or _DEFAULT.columns)


async def chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What comes from a descriptor, until its end; other tasks run meanwhile."""
    while True:
        # A plain file and /dev/null can always be read, and epoll refuses them.
        with suppress(PermissionError):
            await anyio.wait_readable(descriptor)
        try:
            data = os.read(descriptor, _READ_SIZE)
        except BlockingIOError:
            continue
        except OSError:
            return
        if not data:
            return
        yield data


async def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it; other tasks run while nobody takes it.

    :raise OSError: the descriptor refuses it (a closed pipe, a full disk).
    """
    view = memoryview(data)
    while view:
        with suppress(PermissionError):
            await anyio.wait_writable(descriptor)
        with suppress(BlockingIOError):
            # No more than a pipe takes at once when it takes anything.
            view = view[os.write(descriptor, view[:4096]) :]
