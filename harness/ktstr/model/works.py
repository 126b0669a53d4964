# SPDX-License-Identifier: GPL-2.0-only
"""The work types a scenario may ask for.

``guest/worker`` registers the same names, parameters, defaults and groups; ``worker list`` prints
its side as JSON, and a test holds the two together. A new work type is one row in a table here and
one there.
"""

from collections.abc import Mapping
from typing import Final

from ktstr.model.work_type import Param, WorkType
from ktstr.model.works_basic import BASIC

__all__ = ["WORK_TYPES", "Param", "WorkType"]

_FAMILIES: Final = (BASIC,)

WORK_TYPES: Final[Mapping[str, WorkType]] = {
    work.name: work for family in _FAMILIES for work in family
}
"""Work types by name; names are case-sensitive."""
