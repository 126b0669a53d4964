# SPDX-License-Identifier: GPL-2.0-only
"""Why a configuration did not keep an option: the dependency that is not met, in a sentence."""

import difflib
from collections.abc import Mapping, Sequence

from ktstr.kernels.build.fragments import Lost
from ktstr.kernels.build.kconfig import Definition, Kconfig
from ktstr.kernels.build.kconfig_expr import Expr, level, unmet

_MOST_NAMED = 4


def explain(lost: Lost, kconfig: Kconfig, config: Mapping[str, str]) -> str:
    """One line: what was asked for, what came of it, and why.

    :param config: the options of the finished configuration, names without ``CONFIG_``.
    """
    asked = _assignment(lost.name, lost.wanted)
    return f"{asked} (of {lost.fragment}) became {lost.got}: {_why(lost, kconfig, config)}"


def _why(lost: Lost, kconfig: Kconfig, config: Mapping[str, str]) -> str:
    definitions = kconfig.definitions.get(lost.name, [])
    if not definitions:
        near = difflib.get_close_matches(lost.name, kconfig.definitions, n=1, cutoff=0.8)
        return "this kernel has no such option" + (f"; it has {near[0]}" if near else "")
    if lost.wanted == "n":
        return _why_on(lost.name, kconfig, config)
    needed = 1 if lost.wanted == "m" else 2
    reasons = [_why_off(definition, kconfig, config, needed) for definition in definitions]
    return " or ".join(dict.fromkeys(reasons))


def _why_on(name: str, kconfig: Kconfig, config: Mapping[str, str]) -> str:
    forcing = [
        definition.name
        for definition, condition in kconfig.selectors(name)
        if config.get(definition.name) in ("y", "m") and level(condition, config)
    ]
    if forcing:
        return f"it is selected by {_listed(forcing)}"
    return "it has no prompt, so it follows its default" + _places(kconfig.definitions[name])


def _why_off(
    definition: Definition, kconfig: Kconfig, config: Mapping[str, str], needed: int
) -> str:
    missing = [part for expr in definition.depends for part in unmet(expr, config, needed)]
    if missing:
        told = list(dict.fromkeys(_state(part, config) for part in missing))
        return f"it depends on {', and '.join(told)} ({definition.where})"
    rivals = [
        name
        for name in (kconfig.members(definition.choice) if definition.choice else ())
        if config.get(name) == "y" and name != definition.name
    ]
    if rivals:
        return f"of that choice {rivals[0]} is set ({definition.where})"
    if not any(level(prompt, config) for prompt in definition.prompts):
        hidden = [part for prompt in definition.prompts for part in unmet(prompt, config, 1)]
        if hidden:
            told = list(dict.fromkeys(_state(part, config) for part in hidden))
            return f"it can be set only with {', and '.join(told)} ({definition.where})"
        selectors = [d.name for d, _ in kconfig.selectors(definition.name)]
        by = f", only by {_listed(selectors)}" if selectors else ""
        return f"it cannot be set by hand{by} ({definition.where})"
    if needed and config.get(definition.name, "n") == "n":
        return f"nothing that it depends on is missing: see there ({definition.where})"
    return f"the value does not fit its type or range ({definition.where})"


def _state(expr: Expr, config: Mapping[str, str]) -> str:
    """An unmet condition, with the values of its symbols."""
    if expr.op == "symbol":
        return f"{expr.text}, which is {_named(config.get(expr.text, 'n'))}"
    if expr.op == "!" and expr.args[0].op == "symbol":
        name = expr.args[0].text
        return f"!{name}, but {name} is {_named(config.get(name, 'n'))}"
    values = ", ".join(f"{n} is {_named(config.get(n, 'n'))}" for n in _symbols(expr))
    return f"({expr})" + (f" where {values}" if values else "")


def _symbols(expr: Expr) -> list[str]:
    if expr.op == "symbol" and expr.text not in ("y", "m", "n"):
        return [expr.text]
    return list(dict.fromkeys(name for arg in expr.args for name in _symbols(arg)))


def _named(value: str) -> str:
    return {"n": "not set", "m": "a module"}.get(value, value)


def _assignment(name: str, value: str) -> str:
    return f"# CONFIG_{name} is not set" if value == "n" else f"CONFIG_{name}={value}"


def _listed(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _places(definitions: Sequence[Definition]) -> str:
    return f" ({', '.join(definition.where for definition in definitions)})"
