# SPDX-License-Identifier: GPL-2.0-only
"""How large a change has to be to count: the registry's gates, and a file's in their place."""

import difflib
import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ktstr.errors import CannotRun
from ktstr.metrics import infer_higher_is_worse, metric_def
from ktstr.metrics.kinds import (
    HIGHER_BETTER,
    INFORMATIONAL,
    LOWER_BETTER,
    MetricKind,
    Polarity,
)

UNREGISTERED_REL: Final = 0.25
"""Relative gate of a metric that is not registered, where a change of it is merely shown."""

MAX_FILE: Final = 1 << 20
_KEYS: Final = ("default_percent", "per_metric_percent", "per_metric_absolute", "must_not_regress")


class PolicyInvalid(CannotRun):
    """A policy file is wrong: correct what is listed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How changes of one metric are judged.

    :param kind: ``None`` of a metric that is not registered.
    :param absolute: smallest change that counts, in the metric's unit.
    :param relative: the same as a fraction of the earlier value.
    """

    polarity: Polarity
    kind: MetricKind | None
    absolute: float
    relative: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What replaces the registry's gates; percent everywhere.

    :param default_percent: relative gate of every metric without one of its own.
    :param per_metric_percent: relative gates by metric.
    :param per_metric_absolute: absolute gates by metric, in its unit.
    :param must_not_regress: metrics of which, over many runs, no false alarm is allowed to be
        likelier than the level; the fewer, the more each can show.
    """

    default_percent: float | None = None
    per_metric_percent: Mapping[str, float] = field(default_factory=dict)
    per_metric_absolute: Mapping[str, float] = field(default_factory=dict)
    must_not_regress: tuple[str, ...] = ()
    _rules: dict[str, Rule] = field(default_factory=dict, init=False, repr=False, compare=False)

    def rule(self, name: str) -> Rule:
        """How a metric is judged.

        One that is not registered has no gates and so is never a regression, until the policy
        gives it one; its name then says which way is worse.
        """
        # A comparison asks a hundred thousand times.
        if (known := self._rules.get(name)) is None:
            known = self._rules[name] = self._made(name)
        return known

    def _made(self, name: str) -> Rule:
        found = metric_def(name)
        absolute = self.per_metric_absolute.get(name)
        percent = self.per_metric_percent.get(name)
        if found is not None:
            share = self.default_percent if percent is None else percent
            return Rule(
                found.polarity,
                found.kind,
                found.default_abs if absolute is None else absolute,
                found.default_rel if share is None else share / 100,
                found.display_unit,
            )
        polarity = INFORMATIONAL
        if absolute is not None or percent is not None:
            polarity = LOWER_BETTER if infer_higher_is_worse(name) else HIGHER_BETTER
        relative = percent / 100 if percent is not None else UNREGISTERED_REL
        if percent is None and absolute is not None:
            relative = 0.0
        return Rule(polarity, None, absolute or 0.0, relative)


def read_policy(path: Path, known: Collection[str]) -> Policy:
    """Read a policy, TOML or (``.json``) JSON.

    :param known: the metrics there are.
    :raise PolicyInvalid: with every mistake found.
    """
    try:
        content = path.read_bytes()[: MAX_FILE + 1]
        if len(content) > MAX_FILE:
            raise PolicyInvalid(f"{path} is larger than {MAX_FILE >> 10} KiB: no policy")
        text = content.decode()
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise PolicyInvalid(f"the policy {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise PolicyInvalid(f"the policy {path} is not {kind}: {error}") from error
    if not isinstance(values, dict):
        raise PolicyInvalid(f"the policy {path} is no table", hint=f"its keys: {', '.join(_KEYS)}")
    mistakes: list[str] = []
    policy = _policy(values, known, mistakes)
    if mistakes:
        what = "mistake" if len(mistakes) == 1 else "mistakes"
        listed = "\n  ".join(mistakes)
        raise PolicyInvalid(
            f"{len(mistakes)} {what} in the policy {path}\n  {listed}",
            hint="ktstr metrics lists the metrics there are",
        )
    return policy


def _policy(values: Mapping[str, Any], known: Collection[str], mistakes: list[str]) -> Policy:
    mistakes += [
        f"{key}: no such key{_close(key, _KEYS)}; there are {', '.join(_KEYS)}"
        for key in values
        if key not in _KEYS
    ]
    default = values.get("default_percent")
    if default is not None and not _is_share(default):
        mistakes.append(f"default_percent: found {default!r:.60}; a number of 0 or more is allowed")
        default = None
    listed = values.get("must_not_regress", [])
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        mistakes.append(f"must_not_regress: found {listed!r:.60}; a list of metrics is allowed")
        listed = []
    _check_names("must_not_regress", listed, known, mistakes)
    return Policy(
        default,
        _numbers("per_metric_percent", values, known, mistakes),
        _numbers("per_metric_absolute", values, known, mistakes),
        tuple(listed),
    )


def _numbers(
    key: str, values: Mapping[str, Any], known: Collection[str], mistakes: list[str]
) -> dict[str, float]:
    found = values.get(key, {})
    if not isinstance(found, dict):
        mistakes.append(f"{key}: found {found!r:.60}; a table of metrics is allowed")
        return {}
    _check_names(key, found, known, mistakes)
    wrong = {name: value for name, value in found.items() if not _is_share(value)}
    mistakes += [
        f"{key}.{name}: found {value!r:.60}; a number of 0 or more is allowed"
        for name, value in wrong.items()
    ]
    return {name: float(value) for name, value in found.items() if name not in wrong}


def _check_names(
    key: str, names: Collection[str], known: Collection[str], mistakes: list[str]
) -> None:
    mistakes += [
        f"{key}: there is no metric {name!r:.80}{_close(name, known)}"
        for name in names
        if name not in known
    ]


def _close(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _is_share(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # NaN compares with nothing.
    return 0 <= value < float("inf")
