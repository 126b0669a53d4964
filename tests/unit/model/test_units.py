# SPDX-License-Identifier: GPL-2.0-only
"""Durations, sizes and op masks."""

from math import inf, nan

import pytest

from ktstr.model.ops import OP_INDEX, op_names
from ktstr.model.units import format_duration, parse_duration_ms, parse_size


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        ("1500ms", 1500),
        ("2s", 2000),
        ("1.5 s", 1500),
        ("0.1s", 100),
        ("2m", 120_000),
        ("1440m", 86_400_000),
        (2, 2000),
        (0.25, 250),
        (0.3, 300),
        (0, 0),
    ],
)
def test_durations(value: object, milliseconds: int) -> None:
    assert parse_duration_ms(value) == milliseconds


@pytest.mark.parametrize(
    "value",
    ["", "2", "-1s", "1h", "0.5ms", "1441m", "٣s", "1e3s", -1, 0.0001, True, None, [], inf, nan],
)
def test_no_durations(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration_ms(value)


def test_durations_are_shown_as_they_are_read() -> None:
    assert [format_duration(n) for n in (1500, 2000, 0, 60_000)] == ["1500ms", "2s", "0s", "60s"]


@pytest.mark.parametrize(
    ("value", "size"), [("512M", 512 << 20), ("2 GiB", 2 << 30), ("4KB", 4096), ("16384G", 1 << 44)]
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "512", "1T", "-1M", "1.5G", "16385G", 512, None, True])
def test_no_sizes(value: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(value)


def test_the_references_op_bits_are_kept() -> None:
    reference = (
        "AddCgroup RemoveCgroup SetCpuset ClearCpuset SwapCpusets Spawn StopCgroup SetAffinity "
        "SpawnHost MoveAllTasks RunPayload WaitPayload KillPayload"
    )
    assert [OP_INDEX[name] for name in reference.split()] == list(range(13))


def test_op_bits_fit_a_32_bit_mask_and_read_back() -> None:
    assert len(set(OP_INDEX.values())) == len(OP_INDEX)
    assert all(0 <= bit < 32 for bit in OP_INDEX.values())
    assert op_names(0) == ()
    assert op_names(1 << 31 | 0b101) == ("AddCgroup", "SetCpuset", "InjectFault")
    assert op_names(1 << 27) == ("op27",)
