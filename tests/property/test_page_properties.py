# SPDX-License-Identifier: GPL-2.0-only
"""Pages lose no extreme, draw nothing that was not read, and no text leaves its place."""

import json

from hypothesis import given
from hypothesis import strategies as st

from ktstr.report.page.assets import embedded
from ktstr.report.page.columns import Columns

VALUES = st.lists(st.none() | st.integers(-1000, 1000), min_size=1, max_size=400)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.integers(2, 64))
def test_extremes_stay_and_times_never_go_back(values: list[int | None], limit: int) -> None:
    columns = Columns(len(values), limit)
    drawn = columns.of(values)
    times = columns.times(list(range(len(values))))
    assert (
        len(drawn)
        == len(times)
        == min(len(values), limit // 2 * 2 if len(values) > limit else limit)
    )
    assert times == sorted(times)
    measured = [value for value in values if value is not None]
    kept = [value for value in drawn if value is not None]
    assert (min(measured, default=None), max(measured, default=None)) == (
        min(kept, default=None),
        max(kept, default=None),
    )
    # What is drawn was read, and in that order.
    left = iter(values)
    previous: object = None
    for place, value in enumerate(drawn):
        if value is None or (place % 2 and value == previous):
            continue
        assert any(each == value for each in left)
        previous = value


@given(JSON)
def test_json_survives_and_cannot_be_markup(value: object) -> None:
    text = embedded(value)
    assert text.isascii() and not set("<>&") & set(text)
    assert json.loads(text) == value
