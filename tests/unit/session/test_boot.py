# SPDX-License-Identifier: GPL-2.0-only
"""Which boots say something about their kernel, and are remembered."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ktstr.kernels.boot_times import BootTimes
from ktstr.session.boot import remember_boot


def live(reached: int = 0, **spec: Any) -> Any:
    """A guest of two vCPUs, as far as it is looked at here."""
    usual = {
        "virtual": None,
        "one_thread": False,
        "debug": False,
        "accel": SimpleNamespace(name="tcg"),
    }
    return SimpleNamespace(
        warm=SimpleNamespace(reached=reached),
        machine=SimpleNamespace(spec=SimpleNamespace(**{**usual, **spec})),
        definition=SimpleNamespace(topology=SimpleNamespace(cpus=2)),
        prepared=SimpleNamespace(kernel=SimpleNamespace(digest="d")),
    )


@pytest.mark.parametrize(
    ("guest", "found"),
    [
        (live(), ["4.5 s (2 vCPUs, tcg)"]),
        (live(accel=SimpleNamespace(name="kvm")), ["4.5 s (2 vCPUs, kvm)"]),
        (live(reached=1), []),
        (live(virtual="a clock of its own"), []),
        (live(one_thread=True), []),
        (live(debug=True), []),
    ],
)
async def test_only_plain_boots_are_remembered(
    guest: Any, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    await remember_boot(guest, 4.5)
    assert list(map(str, BootTimes().of("d"))) == found
