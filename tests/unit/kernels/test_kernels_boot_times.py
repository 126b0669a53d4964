# SPDX-License-Identifier: GPL-2.0-only
"""Boot times: the median of the last few, of each kind of guest; damage costs nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ktstr.kernels import Kernel, KernelCache, resolve_kernel
from ktstr.kernels.boot_times import KEPT, BootTimes
from ktstr.kernels.features import unknown_features
from ktstr.session.boot import own_scheduler_note


@pytest.fixture
def cache(tmp_path: Path) -> KernelCache:
    return KernelCache(tmp_path / "kernels")


def test_the_median_of_each_kind(cache: KernelCache) -> None:
    times = BootTimes(cache)
    assert times.of("d") == []
    for seconds in (3.0, 9.0, 4.0):
        times.add("d", 2, "tcg", seconds)
    times.add("d", 8, "tcg", 20.0)
    times.add("d", 2, "kvm", 0.5)
    times.add("other", 2, "tcg", 1.0)
    assert list(map(str, BootTimes(cache).of("d"))) == [
        "0.5 s (2 vCPUs, kvm)",
        "4.0 s (2 vCPUs, tcg, 3 boots)",
        "20.0 s (8 vCPUs, tcg)",
    ]


def test_only_the_last_count(cache: KernelCache) -> None:
    times = BootTimes(cache)
    for seconds in [100.0] * KEPT + [float(n) for n in range(1, KEPT + 1)]:
        times.add("d", 1, "tcg", seconds)
    (found,) = times.of("d")
    assert (found.boots, found.median_s) == (KEPT, (KEPT + 1) / 2)
    assert [path.name for path in (cache.root / "boots").iterdir()] == ["d.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": 2, "seconds": {"2 tcg": [1.0]}}',
        '{"schema": 1, "seconds": []}',
        '{"schema": 1, "seconds": {"x tcg": [1.0], "2 tcg": [], "3 tcg": ["1"], "4 tcg": 5}}',
    ],
)
def test_damage_is_as_good_as_nothing(cache: KernelCache, text: str) -> None:
    folder = cache.root / "boots"
    folder.mkdir(parents=True)
    (folder / "d.json").write_text(text)
    times = BootTimes(cache)
    assert times.of("d") == []
    times.add("d", 2, "tcg", 1.5)
    assert [time.median_s for time in times.of("d")] == [1.5]


def test_no_place_to_write(tmp_path: Path) -> None:
    (tmp_path / "kernels").write_text("a file where the folder should be")
    BootTimes(KernelCache(tmp_path / "kernels")).add("d", 2, "tcg", 1.0)


async def test_they_go_with_their_kernel(
    cache: KernelCache, kernel_file: Callable[..., Path]
) -> None:
    kernel = await resolve_kernel(f"path:{kernel_file()}", cache=cache)
    times = BootTimes(cache)
    times.add(kernel.digest, 2, "tcg", 3.0)
    file = cache.root / "boots" / f"{kernel.digest}.json"
    assert json.loads(file.read_text())["seconds"] == {"2 tcg": [3.0]}
    cache.clean(1)
    assert times.of(kernel.digest)
    cache.clean(0)
    assert times.of(kernel.digest) == []


@pytest.mark.parametrize(
    ("release", "scheduler"),
    [
        ("6.12.95+deb12-cloud-amd64", "EEVDF"),
        ("7.0.1", "EEVDF"),
        ("6.6.0", "EEVDF"),
        ("6.5.13", "CFS"),
        ("5.19", "CFS"),
    ],
)
def test_whose_scheduling_a_kernel_without_sched_ext_shows(release: str, scheduler: str) -> None:
    features = unknown_features(release, "a test")
    kernel = Kernel("x", release, Path(), None, features, "digest")
    assert kernel.own_scheduler == scheduler
    assert own_scheduler_note(kernel).endswith(f"its own scheduler, {scheduler}")
