# SPDX-License-Identifier: GPL-2.0-only
"""Two commits in turn: which files run in which order, what is built, what is refused."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.unit.history.runs import Recorded
from tests.unit.history.test_worktrees import Repository, repository

from ktstr.errors import CannotRun, DefinitionInvalid, QemuDied
from ktstr.history.noise import Word
from ktstr.history.perf_delta import Delta, Ran, Request, Turn, both_sides, build, plan, run_all
from ktstr.history.repeats import judge
from ktstr.session.events import Emit, ignore
from ktstr.session.options import RunOptions

__all__ = ["repository"]

SCENARIO = """
name = "x"
description = "a test"
# slice {slice}

[vm]
topology = "1n1l2c1t"

[scheduler]
kernel_default = true

[run]
clock = "{clock}"

[[steps]]
hold = "1s"

[[steps.cgroups]]
name = "a"
works = [{{ type = "SpinWait", workers = 1 }}]
"""
P99 = "worst_p99_wake_latency_us"


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.turns: list[tuple[str, str, int | None]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def running(self, turn: Turn) -> AbstractContextManager[Emit]:
        return nullcontext(ignore)

    def ran(self, ran: Ran, number: int, of: int) -> None:
        self.turns.append((ran.turn.side, ran.turn.subject.name, ran.turn.seed))


def write(repository: Repository, name: str, slice_us: int = 1, clock: str = "wall") -> Path:
    path = repository.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(SCENARIO.format(slice=slice_us, clock=clock))
    return path


def two_commits(repository: Repository, clock: str = "wall") -> Path:
    """A scenario whose text says slice 1 in the first commit and slice 9 in the second."""
    path = write(repository, "s/x.toml", 1, clock)
    repository.commit("one")
    write(repository, "s/x.toml", 9, clock)
    repository.commit("two")
    return path


def figures(text: str, number: int) -> dict[str, float]:
    return {P99: (5000 if "slice 9" in text else 1000) + number}


async def ran(request: Request, runs: Any, watcher: Watcher | None = None) -> Delta:
    watcher = watcher or Watcher()
    async with both_sides(request) as delta:
        await build(delta, watcher)
        plan(delta)
        await run_all(delta, runs, watcher)
        return delta


async def test_both_commits_run_in_turn(repository: Repository, tmp_path: Path) -> None:
    path, runs, watcher = two_commits(repository), Recorded(figures), Watcher()
    out = tmp_path / "out"
    delta = await ran(Request((path,), out, base="HEAD~1", repeat=3), runs, watcher)
    order = ["base", "head", "head", "base", "base", "head"]
    assert [side for side, _, _ in watcher.turns] == order
    assert [("slice 9" in text, options.out_dir.name) for text, options in runs.made] == [
        (side == "head", side) for side in order
    ]
    assert len(list((out / "base").glob("*.ktstr.json"))) == 3
    ((_, finding),) = judge(delta.repeats()).of(Word.REGRESSION)
    # Base is runs 0 3 4, head 1 2 5.
    assert finding.a.mean == pytest.approx(1000 + 7 / 3)
    assert finding.b.mean == pytest.approx(5000 + 8 / 3)
    assert len(repository.trees()) == 1


async def test_five_runs_a_side_unless_it_is_said(repository: Repository, tmp_path: Path) -> None:
    two_commits(repository)
    other = write(repository, "s/y.toml")
    path = repository.folder / "s" / "x.toml"
    repository.commit("three")
    async with both_sides(Request((path, other), tmp_path, base="HEAD")) as delta:
        plan(delta)
        assert delta.same
        assert [(t.side, t.subject.name) for t in delta.turns[:6]] == [
            *(("base", "x"), ("head", "x"), ("base", "y"), ("head", "y")),
            *(("head", "x"), ("base", "x")),
        ]
        assert len(delta.turns) == 20


async def test_the_virtual_clock_takes_seeds(repository: Repository, tmp_path: Path) -> None:
    path, watcher = two_commits(repository, "virtual"), Watcher()
    options = RunOptions(seed=7, clock="virtual")
    request = Request((path,), tmp_path, options, base="HEAD~1")
    await ran(request, Recorded(figures), watcher)
    assert watcher.turns == [("base", "x", 7), ("head", "x", 7)]
    again = Watcher()
    request = Request((path,), tmp_path, options, base="HEAD~1", repeat=2)
    delta = await ran(request, Recorded(figures), again)
    assert [seed for _, _, seed in again.turns] == [7, 7, 8, 8]
    assert delta.repeats()[0].exact


async def test_the_working_tree_is_the_head_as_it_is(
    repository: Repository, tmp_path: Path
) -> None:
    path = two_commits(repository)
    write(repository, "s/x.toml", 33)
    runs = Recorded(figures)
    delta = await ran(Request((path,), tmp_path, base="HEAD", repeat=1), runs)
    assert delta.head.commit.short.endswith("-dirty") and not delta.same
    assert ["slice 33" in text for text, _ in runs.made] == [False, True]
    # A commit as head does not see it.
    runs = Recorded(figures)
    await ran(Request((path,), tmp_path, base="HEAD~1", head="HEAD", repeat=1), runs)
    assert [("slice 1" in t, "slice 9" in t) for t, _ in runs.made] == [
        (True, False),
        (False, True),
    ]


async def test_what_is_outside_is_the_same_on_both_sides(
    repository: Repository, tmp_path: Path
) -> None:
    two_commits(repository)
    outside = tmp_path / "outside.toml"
    outside.write_text(SCENARIO.format(slice=5, clock="wall"))
    runs = Recorded(figures)
    request = Request((outside,), tmp_path, repository=repository.folder, base="HEAD~1", repeat=1)
    delta = await ran(request, runs)
    assert [text.count("slice 5") for text, _ in runs.made] == [1, 1]
    assert delta.subjects[0].inside is None


async def test_a_scheduler_of_the_repository_is_each_sides_own(
    repository: Repository, tmp_path: Path
) -> None:
    path = two_commits(repository)
    (repository.folder / "sched.o").write_text("x")
    repository.commit("three")
    options = RunOptions(scheduler=str(repository.folder / "sched.o"))
    async with both_sides(Request((path,), tmp_path, options, base="HEAD", repeat=1)) as delta:
        plan(delta)
        base, head = (delta.options_of(turn).scheduler for turn in delta.turns)
    assert base == str(delta.base.tree / "sched.o")
    assert head == str(repository.folder / "sched.o")
    # By a link to the repository it is the same file.
    (tmp_path / "link").symlink_to(repository.folder)
    linked = RunOptions(scheduler=str(tmp_path / "link" / "sched.o"))
    async with both_sides(Request((path,), tmp_path, linked, base="HEAD", repeat=1)) as delta:
        plan(delta)
        base, head = (delta.options_of(turn).scheduler for turn in delta.turns)
        assert base == str(delta.base.tree / "sched.o")
    assert head == str(repository.folder / "sched.o")
    named = RunOptions(scheduler="scx_ktstr")
    async with both_sides(Request((path,), tmp_path, named, base="HEAD", repeat=1)) as delta:
        plan(delta)
        assert {delta.options_of(turn).scheduler for turn in delta.turns} == {"scx_ktstr"}


async def test_a_build_runs_in_each_tree(repository: Repository, tmp_path: Path) -> None:
    path, watcher = two_commits(repository), Watcher()
    command = 'echo "$KTSTR_SIDE $(cat file)"'
    request = Request((path,), tmp_path / "out", base="HEAD~1", build=command, repeat=1)
    await ran(request, Recorded(figures), watcher)
    assert (tmp_path / "out" / "build-base.log").read_text() == "base one\n"
    assert (tmp_path / "out" / "build-head.log").read_text() == "head two\n"
    assert [text.split(" ")[1] for text in watcher.said] == ["base", "head"]


@pytest.mark.parametrize(
    ("command", "words"),
    [("echo so; exit 3", "ended with status 3"), ("sleep 100", "did not end within 0 s")],
)
async def test_a_build_that_fails_is_told(
    repository: Repository, tmp_path: Path, command: str, words: str
) -> None:
    path, runs = two_commits(repository), Recorded(figures)
    request = Request((path,), tmp_path, base="HEAD~1", build=command, build_s=0.3)
    with pytest.raises(CannotRun, match=words) as error:
        await ran(request, runs)
    assert getattr(error.value, "__notes__", []) == (["so"] if "so" in command else [])
    assert not runs.made and len(repository.trees()) == 1


async def test_a_new_scenario_has_nothing_to_be_compared_with(
    repository: Repository, tmp_path: Path
) -> None:
    path = two_commits(repository)
    new = write(repository, "s/new.toml")
    repository.commit("three")
    watcher = Watcher()
    delta = await ran(
        Request((path, new), tmp_path, base="HEAD~1", repeat=1), Recorded(figures), watcher
    )
    assert {name for _, name, _ in watcher.turns} == {"x"}
    assert [(s.name, s.missing) for s in delta.subjects] == [("x", None), ("new", "base")]
    with pytest.raises(CannotRun, match="no scenario is in both"):
        await ran(Request((new,), tmp_path, base="HEAD~1"), Recorded(figures))


async def test_mistakes_name_the_side(repository: Repository, tmp_path: Path) -> None:
    path = two_commits(repository)
    path.write_text(path.read_text().replace("1s", "soon"))
    with pytest.raises(DefinitionInvalid) as error:
        await ran(Request((path,), tmp_path, base="HEAD"), Recorded(figures))
    assert "head" in error.value.__notes__[0] and "-dirty" in error.value.__notes__[0]


async def test_two_clocks_cannot_be_compared(repository: Repository, tmp_path: Path) -> None:
    path = two_commits(repository)
    write(repository, "s/x.toml", 9, "virtual")
    with pytest.raises(CannotRun, match="another clock"):
        await ran(Request((path,), tmp_path, base="HEAD"), Recorded(figures))


async def test_a_lost_guest_is_an_outcome(repository: Repository, tmp_path: Path) -> None:
    path, recorded = two_commits(repository), Recorded(figures)

    async def runs(path: Path, options: RunOptions, emit: Any) -> Any:
        if options.out_dir.name == "head":
            raise QemuDied("QEMU is gone")
        return await recorded(path, options, emit)

    delta = await ran(Request((path,), tmp_path, base="HEAD~1", repeat=2), runs)
    assert [each.verdict for each in delta.ran] == ["pass", "lost", "lost", "pass"]
    found = judge(delta.repeats())
    assert found.broken == ["x"] and found.compared == 0
