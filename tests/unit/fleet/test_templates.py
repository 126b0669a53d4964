# SPDX-License-Identifier: GPL-2.0-only
"""One run builds a guest's template, the others of that guest wait and then go together."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from ktstr.fleet import templates
from ktstr.fleet.templates import first_builds
from ktstr.session.events import Note, RunEvent, StageDone

pytestmark = pytest.mark.anyio

BUILT = StageDone("scheduler", "attached", 1.0)


async def test_the_first_is_alone_until_its_guest_was_kept(tmp_path: Path) -> None:
    inside: set[int] = set()
    begun, kept, all_in = anyio.Event(), anyio.Event(), anyio.Event()

    async def run(number: int) -> None:
        async with first_builds(tmp_path, "guest", lambda event: None) as tell:
            inside.add(number)
            if number == 0:
                begun.set()
                await kept.wait()
                tell(StageDone("boot", "booted", 1.0))
                assert inside == {0}, "others began before the scheduler was attached"
                tell(BUILT)
            if len(inside) == 4:
                all_in.set()
            # Nobody leaves before all are in: they do run beside each other then.
            await all_in.wait()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, 0)
            await begun.wait()
            for number in (1, 2, 3):
                tasks.start_soon(run, number)
            await anyio.sleep(0.5)
            assert inside == {0}
            kept.set()


async def test_when_the_first_fails_the_next_builds(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="lost"):
        async with first_builds(tmp_path, "guest", lambda event: None):
            raise OSError("lost")
    with anyio.fail_after(10):
        async with first_builds(tmp_path, "guest", lambda event: None) as tell:
            tell(BUILT)
    assert (tmp_path / "guest.built").exists()


async def test_other_guests_do_not_wait(tmp_path: Path) -> None:
    with anyio.fail_after(10):
        async with first_builds(tmp_path, "a", print), first_builds(tmp_path, "b", print):
            pass


async def test_who_waits_too_long_boots_beside_it_and_says_so(tmp_path: Path) -> None:
    said: list[RunEvent] = []
    with anyio.fail_after(10):
        async with (
            first_builds(tmp_path, "guest", print),
            first_builds(tmp_path, "guest", said.append, wait_s=0.2),
        ):
            pass
    (note,) = said
    assert isinstance(note, Note) and "has been booting this guest" in note.text


async def test_an_attempt_that_fails_leaves_nothing_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, False, True])
    held: list[bool] = []

    @contextmanager
    def asked(path: Path) -> Iterator[bool]:
        held.append(answer := next(answers))
        try:
            yield answer
        finally:
            held.remove(answer)

    monkeypatch.setattr(templates, "exclusive_now", asked)
    with anyio.fail_after(10):
        async with first_builds(tmp_path, "guest", print) as tell:
            assert held == [True]
            tell(BUILT)
            assert held == []
