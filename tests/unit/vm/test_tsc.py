# SPDX-License-Identifier: GPL-2.0-only
import json
from pathlib import Path

import pytest

from ktstr.vm import tsc
from ktstr.vm.tsc import host_tsc_khz, tsc_words


@pytest.fixture
def boot_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    file = tmp_path / "boot_id"
    file.write_text("this-boot\n")
    monkeypatch.setattr(tsc, "_BOOT_ID", file)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return "this-boot"


def test_rate_and_delay_loops_are_told() -> None:
    # 2.6 GHz and 250 ticks a second are 10.4 million counts from tick to tick.
    assert tsc_words(2_600_000, 250) == ("tsc_early_khz=2600000", "lpj=10400000")


def test_without_the_tick_only_the_rate_is_told() -> None:
    assert tsc_words(2_600_000, None) == ("tsc_early_khz=2600000",)


def test_without_the_rate_nothing_is_told() -> None:
    assert tsc_words(None, 250) == ()


def test_a_rate_is_measured_once_for_each_boot(
    tmp_path: Path, boot_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([2_000_000, 3_000_000])
    monkeypatch.setattr(tsc, "_measured", lambda: next(answers))
    assert host_tsc_khz(tmp_path) == 2_000_000
    assert host_tsc_khz(tmp_path) == 2_000_000
    (tmp_path / "boot_id").write_text("next-boot\n")
    assert host_tsc_khz(tmp_path) == 3_000_000
    assert json.loads((tmp_path / "tsc.json").read_text()) == {"next-boot": 3_000_000}


@pytest.mark.parametrize("text", ["", "[]", '{"this-boot": "fast"}', "{"])
def test_a_damaged_file_is_measured_anew(
    tmp_path: Path, boot_id: str, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "tsc.json").write_text(text)
    monkeypatch.setattr(tsc, "_measured", lambda: 2_000_000)
    assert host_tsc_khz(tmp_path) == 2_000_000


@pytest.mark.parametrize("khz", [0, 399_999, 10_000_000, -5])
def test_a_rate_that_cannot_be_is_not_told(
    tmp_path: Path, boot_id: str, monkeypatch: pytest.MonkeyPatch, khz: int
) -> None:
    monkeypatch.setattr(tsc, "_measured", lambda: khz)
    assert host_tsc_khz(tmp_path) is None


def test_a_host_that_executes_no_new_code_lets_the_guest_find_out(
    tmp_path: Path, boot_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tsc, "_measured", refused)
    assert host_tsc_khz(tmp_path) is None


def test_another_kind_of_host_has_no_such_counter(
    tmp_path: Path, boot_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(tsc, "_measured", lambda: 2_000_000)
    assert host_tsc_khz(tmp_path) is None


def test_the_real_counter_is_read() -> None:
    # Counts of one moment and a later one; that a rate is plausible is all that a test can know.
    assert tsc._measured() in tsc.PLAUSIBLE_KHZ
