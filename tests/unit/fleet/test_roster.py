# SPDX-License-Identifier: GPL-2.0-only
"""Who is there, when several look at the same time."""

from typing import Any

import anyio

from ktstr.fleet.roster import Member, Roster


class Cluster:
    """A client of a cluster with one worker, which answers when it is told to."""

    def __init__(self) -> None:
        self.scheduler = self
        self.asked = 0
        self.answers = anyio.Event()

    async def identity(self) -> dict[str, Any]:
        return {"workers": {"tcp://a": {"status": "running", "name": "a"}}}

    async def run(self, *args: Any, **more: Any) -> dict[str, Any]:
        self.asked += 1
        await self.answers.wait()
        return {"tcp://a": OSError("no matter")}


async def test_a_worker_comes_once_whoever_looks() -> None:
    cluster, came = Cluster(), list[Member]()
    roster = Roster(cluster, came.append, came.append)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(roster.refresh)
        tasks.start_soon(roster.refresh)
        await anyio.wait_all_tasks_blocked()
        assert cluster.asked == 2
        cluster.answers.set()
    assert [member.address for member in came] == ["tcp://a"]
