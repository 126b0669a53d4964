# SPDX-License-Identifier: GPL-2.0-only
"""Numbers in tables, also those of a damaged record."""

import math

import pytest

from ktstr.report.printable import figure, number


@pytest.mark.parametrize(
    ("value", "as_number", "as_figure"),
    [
        (0.5, "0.5", "0.5"),
        (1234.5, "1,234", "1,234"),
        (1 << 64, "18,446,744,073,709,551,616", "18,446,744,073,709,551,616"),
        (10**400, ">1e308", ">1e308"),
        (-(10**400), "<-1e308", "<-1e308"),
        (math.inf, "inf", "inf"),
    ],
)
def test_any_size_is_printed(value: float, as_number: str, as_figure: str) -> None:
    assert (number(value), figure(value)) == (as_number, as_figure)
