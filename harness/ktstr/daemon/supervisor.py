# SPDX-License-Identifier: GPL-2.0-only
"""The daemon's heart: takes runs, starts them in turn in processes of their own, tells of them."""

from collections.abc import AsyncIterator, Collection

from ktstr.daemon.submission import EventRow, RunRow, RunState, Submission

DRAIN_DEADLINE_S = 600.0


class Supervisor:
    """Owns the runs of one state folder; lives as long as :meth:`run` does."""

    async def submit(self, submission: Submission) -> RunRow:
        """Take a run; it is in the store when this returns.

        :raise ServiceRefused: when nothing is taken now.
        """
        raise NotImplementedError

    async def cancel(self, run_id: str) -> RunRow:
        """End a run, or take it out of the queue; nothing happens to one that is over.

        :raise KeyError: when there is no such run.
        """
        raise NotImplementedError

    async def release(self, run_id: str) -> RunRow:
        """Let the kept VM of a run go; nothing happens where none is kept.

        :raise KeyError: when there is no such run.
        """
        raise NotImplementedError

    async def rows(
        self,
        states: Collection[RunState] | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[RunRow]:
        """The latest runs, newest first: of these states, and older than ``before``."""
        raise NotImplementedError

    async def row(self, run_id: str) -> RunRow:
        """One run.

        :raise KeyError: when there is no such run.
        """
        raise NotImplementedError

    def follow(self, run_id: str, after_seq: int = 0) -> AsyncIterator[EventRow]:
        """The events of a run after ``after_seq``, then those to come; ends when the run is over.

        However slow the follower is, nothing is lost and nothing waits for it.
        Readings are kept in memory while a run lives, not in the store.

        :raise KeyError: when there is no such run.
        """
        raise NotImplementedError

    def changes(self) -> AsyncIterator[RunRow]:
        """Each run that changes, from now on without an end; a slow follower sees the latest."""
        raise NotImplementedError

    async def drain(self, deadline_s: float = DRAIN_DEADLINE_S) -> None:
        """Take nothing more, start nothing more, let what runs come to its end.

        What has not ended after ``deadline_s`` is cancelled; what is queued stays so.
        """
        raise NotImplementedError
