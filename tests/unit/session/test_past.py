# SPDX-License-Identifier: GPL-2.0-only
"""What a record tells about visiting its run: when an instant comes, and why one cannot."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ktstr.session.past import NotVisitable, Past, read_past, where
from ktstr.session.sidecar.read import SidecarUnreadable
from ktstr.session.virtual import plan_digest

PLAN = {"name": "x", "steps": []}


def step(index: int, elapsed_ms: int, iterations: int, *, ends: bool) -> dict[str, object]:
    return {
        "elapsed_ms": elapsed_ms,
        "total_iterations": iterations,
        "step_index": index,
        "is_step_end": ends,
        "is_terminal": False,
    }


def values(scenario: Path) -> dict[str, Any]:
    return {
        "steps": [{"index": 1}, {"index": 2}],
        "kernel": {"digest": "k"},
        "image_digest": "i",
        "stimulus": [
            step(1, 0, 0, ends=False),
            step(1, 300, 40, ends=True),
            step(2, 300, 0, ends=False),
            step(2, 500, 70, ends=True),
            {**step(0, 500, 0, ends=False), "step_index": None, "is_terminal": True},
        ],
        "virtual": {
            "seed": 7,
            "shift": 1,
            "qemu": "7.2.22",
            "plan": plan_digest(PLAN),
            "frames": {"bytes": 3, "sha256": "f" * 64},
            "began": [
                {"step": 1, "elapsed_ms": 0, "uptime_ms": 5000},
                {"step": 2, "elapsed_ms": 300, "uptime_ms": 5400},
            ],
        },
        "host": {
            "again": {
                "scenario": str(scenario),
                "kernel": None,
                "topology": "1n1l2c1t",
                "scheduler": None,
                "work_type": None,
                "flags": ["a", "b"],
            }
        },
    }


def written(folder: Path, change: dict[str, Any] | None = None, name: str = "x-1") -> Path:
    scenario = folder / "x.toml"
    scenario.write_text("")
    path = folder / f"{name}.ktstr.json"
    path.write_text(json.dumps(values(scenario) | (change or {})))
    return path


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return read_past(written(tmp_path))


def test_the_record_says_what_to_run_again(past: Past, tmp_path: Path) -> None:
    assert past.scenario == tmp_path / "x.toml"
    options = past.options
    assert (options.clock, options.seed, options.topology) == ("virtual", 7, "1n1l2c1t")
    assert options.flags == ("a", "b") and options.auto_repro is False
    assert past.label == "x-1"
    assert past.moments == ((1, 0, 0), (1, 300, 40), (2, 300, 0), (2, 500, 70))


@pytest.mark.parametrize(
    ("elapsed_ms", "uptime_ns", "index", "words"),
    [
        (0, 5_000_000_000, 1, "0 ms into Step[0]"),
        (299.5, 5_299_500_000, 1, "300 ms into Step[0]"),
        # Between the steps 100 ms went by that are no workload.
        (300, 5_400_000_000, 2, "0 ms into Step[1]"),
        (500, 5_600_000_000, 2, "200 ms into Step[1]"),
    ],
)
def test_workload_time_becomes_the_guests_own(
    past: Past, elapsed_ms: float, uptime_ns: int, index: int, words: str
) -> None:
    found = past.instant(elapsed_ms)
    assert (found.uptime_ns, found.step) == (uptime_ns, index)
    assert where(past, found) == words
    assert past.at(uptime_ns, index).elapsed_ms == pytest.approx(elapsed_ms)


def test_a_time_beyond_the_end_is_refused_with_the_end(past: Past) -> None:
    with pytest.raises(NotVisitable, match=r"500\.5 ms lie beyond the end: x-1 worked for 500 ms"):
        past.instant(500.5)


def test_every_goes_from_the_beginning_to_the_end(past: Past) -> None:
    assert [each.elapsed_ms for each in past.every(120)] == [0, 120, 240, 360, 480]
    assert [each.elapsed_ms for each in past.every(250)] == [0, 250, 500]
    with pytest.raises(NotVisitable, match="50001 instants"):
        past.every(0.01)


def test_a_run_that_was_cut_short_has_instants_but_no_last_one(tmp_path: Path) -> None:
    events = values(tmp_path)["stimulus"][:3]
    cut = read_past(written(tmp_path, {"stimulus": events}))
    assert cut.instant(10_000).step == 2
    with pytest.raises(NotVisitable, match="did not come to its end"):
        cut.every(50)


def test_a_wall_clock_record_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"virtual": None})
    with pytest.raises(NotVisitable, match=r"by the wall clock.*\n.*--clock virtual"):
        read_past(path)


def test_a_repetition_with_probes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotVisitable, match="repetition with probes"):
        read_past(written(tmp_path, name="x-1.repro"))


def test_a_scenario_that_is_gone_is_told(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "x.toml").unlink()
    with pytest.raises(NotVisitable, match=r"the scenario of x-1 is gone: .*x\.toml is no file"):
        read_past(path)


def test_a_run_without_a_step_has_no_instants(tmp_path: Path) -> None:
    virtual = {**values(tmp_path)["virtual"], "began": []}
    with pytest.raises(NotVisitable, match="no step of x-1 began"):
        read_past(written(tmp_path, {"virtual": virtual}))


@pytest.mark.parametrize("change", [{"host": {}}, {"virtual": {}}, {"stimulus": 3}])
def test_a_record_of_another_ktstr_is_told(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(NotVisitable, match="does not say how to run it again"):
        read_past(written(tmp_path, change))


def test_what_is_no_record_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.ktstr.json"
    path.write_text("[]")
    with pytest.raises(SidecarUnreadable):
        read_past(path)


def ready(plan: object = PLAN, kernel: str = "k", image: str = "i") -> Any:
    return SimpleNamespace(
        definition=SimpleNamespace(plan=plan),
        kernel=SimpleNamespace(digest=kernel),
        image=SimpleNamespace(digest=image),
    )


def test_what_has_changed_since_is_named(past: Past) -> None:
    past.check(ready())
    past.check_qemu("7.2.22")
    for changed, words in (
        (ready(plan={**PLAN, "name": "y"}), "the scenario has changed"),
        (ready(kernel="other"), "the kernel has changed since x-1 was run: k, now other"),
        (ready(image="other"), "the guest image has changed"),
    ):
        with pytest.raises(NotVisitable, match=words):
            past.check(changed)
    with pytest.raises(NotVisitable, match=r"QEMU 7\.2\.22; this is 10\.0"):
        past.check_qemu("10.0")


def test_kept_frames_are_found_where_the_record_says_or_in_the_evidence(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert read_past(path).frames is None
    kept = tmp_path / "x-1.evidence" / "frames.bin"
    kept.parent.mkdir()
    kept.write_bytes(b"abc")
    assert read_past(path).frames == kept
    host = values(tmp_path / "x.toml")["host"]
    (tmp_path / "other").write_bytes(b"")
    host["frames"] = str(tmp_path / "other")
    assert read_past(written(tmp_path, {"host": host})).frames == tmp_path / "other"
