# SPDX-License-Identifier: GPL-2.0-only
"""Which way is worse for a metric the registry does not know (reference-06 section 1.1)."""

_HIGHER_IS_WORSE = (
    *("latency", "delay", "_gap", "stall", "stuck", "_cv", "error", "fail", "drop", "spread"),
    *("_us", "_ms", "_ns", "migration_ratio", "imbalance", "_depth", "dsq"),
)
_HIGHER_IS_BETTER = (
    *("iops", "throughput", "bandwidth", "iterations", "ops_per_sec", "locality"),
    *("_score", "goodput"),
)


def infer_higher_is_worse(name: str) -> bool:
    """Guess from the name of an unregistered metric whether a larger value is a regression.

    What names a cost counts before what names a gain, so ``throughput_error`` is a cost; a name
    that says neither is taken for a cost.
    """
    if any(token in name for token in _HIGHER_IS_WORSE):
        return True
    return not any(token in name for token in _HIGHER_IS_BETTER)
