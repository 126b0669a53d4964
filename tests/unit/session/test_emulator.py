# SPDX-License-Identifier: GPL-2.0-only
"""Which lost guests are tried again on one thread, and which are believed."""

import pytest

from ktstr.errors import BootTimeout, GuestHung, GuestLost, GuestPanicked
from ktstr.session.emulator import avoiding_words, may_have_slipped

INT3 = "[ 3.6] Oops: int3: 0000 [#1] SMP NOPTI\n"


@pytest.mark.parametrize(
    ("accelerator", "error", "console", "again"),
    [
        ("tcg", GuestPanicked("x"), INT3, True),
        ("kvm", GuestPanicked("x"), INT3, False),
        ("tcg", GuestPanicked("x"), "Kernel panic - not syncing: sysrq triggered crash", False),
        ("tcg", BootTimeout("x"), "", True),
        ("kvm", BootTimeout("x"), "", False),
        ("tcg", GuestHung("x"), "", False),
    ],
)
def test_what_is_tried_again(accelerator: str, error: GuestLost, console: str, again: bool) -> None:
    assert may_have_slipped(accelerator, error, console) is again


@pytest.mark.parametrize(
    ("accelerator", "has_sched_ext", "words"),
    [
        ("tcg", False, ("clearcpuid=cx16",)),
        ("tcg", True, ()),
        ("tcg", None, ()),
        ("kvm", False, ()),
    ],
)
def test_what_old_kernels_are_kept_from(
    accelerator: str, has_sched_ext: bool | None, words: tuple[str, ...]
) -> None:
    assert avoiding_words(accelerator, has_sched_ext) == words
