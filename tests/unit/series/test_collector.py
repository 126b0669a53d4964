# SPDX-License-Identifier: GPL-2.0-only
"""The collector is off while anyone needs it off, and then as it was."""

import gc

import pytest

from ktstr.series.collector import uncollected


def test_it_comes_back_when_the_last_one_leaves() -> None:
    assert gc.isenabled()
    with uncollected():
        with pytest.raises(ValueError, match="inside"), uncollected():
            raise ValueError("inside")
        assert not gc.isenabled()
    assert gc.isenabled()


def test_who_runs_without_a_collector_gets_none() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
