# SPDX-License-Identifier: GPL-2.0-only
"""The ``[checks]`` and ``[scheduler.checks]`` tables of the scenario file.

A new check is one field here; ``ktstr.verdict`` evaluates it under the same name.
"""

from typing import Annotated

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from ktstr.model.fields import Table

_HOUR_MS = 3_600_000

_Ratio = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]
_Share = Annotated[StrictFloat, Field(ge=0, le=1, allow_inf_nan=False)]
_Percent = Annotated[StrictFloat, Field(ge=0, le=100, allow_inf_nan=False)]


class Checks(Table):
    """What the verdict judges; nothing fails that is not named here."""

    not_starved: StrictBool | None = None
    not_stuck: StrictBool | None = None
    strict: StrictBool | None = None
    max_gap_ms: Annotated[StrictInt, Field(ge=1, le=_HOUR_MS)] | None = None
    max_spread_pct: _Percent | None = None
    isolation: StrictBool | None = None
    max_throughput_cv: _Ratio | None = None
    min_work_rate: _Ratio | None = None
    min_iteration_rate: _Ratio | None = None
    max_migration_ratio: _Ratio | None = None
    max_p99_wake_latency_ns: Annotated[StrictInt, Field(ge=0, le=_HOUR_MS * 1_000_000)] | None = (
        None
    )
    max_wake_latency_cv: _Ratio | None = None
    min_page_locality: _Share | None = None
    max_cross_node_migration_ratio: _Ratio | None = None
    max_slow_tier_ratio: _Share | None = None
    enforce_monitor_thresholds: StrictBool | None = None
    max_imbalance_ratio: Annotated[StrictFloat, Field(ge=1, allow_inf_nan=False)] | None = None
    max_local_dsq_depth: Annotated[StrictInt, Field(ge=0, le=10_000)] | None = None
    fail_on_rq_clock_stuck: StrictBool | None = None
    max_fallback_rate: _Ratio | None = None
    max_keep_last_rate: _Ratio | None = None
    sustained_samples: Annotated[StrictInt, Field(ge=1, le=10_000)] | None = None

    def plain(self) -> dict[str, bool | int | float]:
        """The checks that are set, by name; ``not_stuck`` is another name of ``not_starved``."""
        found = {n: v for n in Checks.model_fields if (v := getattr(self, n)) is not None}
        if "not_stuck" in found:
            found["not_starved"] = found.pop("not_stuck")
        return found
