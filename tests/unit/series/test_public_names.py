# SPDX-License-Identifier: GPL-2.0-only
"""What people import from ``ktstr.series``."""

import inspect

import ktstr.series
from ktstr.series import errors, values


def test_every_name_of_the_list_is_there() -> None:
    assert all(hasattr(ktstr.series, name) for name in ktstr.series.__all__)


def test_every_error_and_every_kind_of_value_is_public() -> None:
    def classes(module: object, base: type) -> set[str]:
        found = inspect.getmembers(module, inspect.isclass)
        return {name for name, each in found if issubclass(each, base)}

    public = set(ktstr.series.__all__)
    assert classes(errors, errors.SnapshotError) <= public
    assert classes(values, values.RenderedValue) <= public
