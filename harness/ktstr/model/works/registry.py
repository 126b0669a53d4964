# SPDX-License-Identifier: GPL-2.0-only
"""The work types a scenario may ask for.

``guest/worker`` registers the same names, parameters, defaults and groups; ``worker list`` prints
its side as JSON, and a test holds the two together. A new work type is one row in a table here and
one there.
"""

from collections.abc import Mapping
from typing import Final

from ktstr.model.work_type import Param, WorkType
from ktstr.model.works.basic import BASIC
from ktstr.model.works.bench import BENCH
from ktstr.model.works.cache import CACHE
from ktstr.model.works.churn import CHURN
from ktstr.model.works.cpu import CPU
from ktstr.model.works.custom import CUSTOM
from ktstr.model.works.device import DEVICE
from ktstr.model.works.fanout import FANOUT
from ktstr.model.works.lock import LOCK
from ktstr.model.works.numa import NUMA
from ktstr.model.works.rt import RT
from ktstr.model.works.wake import WAKE_UP

__all__ = ["WORK_TYPES", "Param", "WorkType"]

_FAMILIES: Final = (
    BASIC,
    CACHE,
    FANOUT,
    LOCK,
    CPU,
    CHURN,
    RT,
    WAKE_UP,
    NUMA,
    DEVICE,
    BENCH,
    CUSTOM,
)

WORK_TYPES: Final[Mapping[str, WorkType]] = {
    work.name: work for family in _FAMILIES for work in family
}
"""Work types by name; names are case-sensitive."""
