# SPDX-License-Identifier: GPL-2.0-only
"""Kconfig's expressions: three values, evaluated against a finished configuration.

Language: Documentation/kbuild/kconfig-language.rst. What the tree would ask a compiler
(``$(cc-option,…)``) is not known here and never counts as unmet.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?: (?P<op>&&|\|\||!=|<=|>=|[!()=<>]) | "(?P<dq>(?:[^"\\]|\\.)*)" | '(?P<sq>[^']*)'
    | (?P<word>[\w./-]+) )""",
    re.VERBOSE,
)
_LEVEL = {"n": 0, "m": 1, "y": 2}


class ExpressionError(ValueError):
    """The text is no Kconfig expression."""


@dataclass(frozen=True, slots=True)
class Expr:
    """``op`` is ``&&``, ``||``, ``!``, a comparison, ``symbol``, ``text`` or ``macro``."""

    op: str
    args: tuple["Expr", ...] = ()
    text: str = ""

    def __str__(self) -> str:
        if not self.args:
            return f'"{self.text}"' if self.op == "text" else self.text
        if self.op == "!":
            inner = str(self.args[0])
            return f"!({inner})" if len(self.args[0].args) > 1 else f"!{inner}"
        inside = [f"({a})" if self.op == "&&" and a.op == "||" else str(a) for a in self.args]
        return f" {self.op} ".join(inside)


def parse_expression(text: str) -> Expr:
    """Parse *text*.

    :raise ExpressionError: it is no expression.
    """
    parser = _Parser(text)
    expr = parser.either()
    if parser.peek() is not None:
        raise ExpressionError(f"{text!r}: {parser.peek()!r} is not expected there")
    return expr


def level(expr: Expr, config: Mapping[str, str]) -> int:
    """0 for no, 1 for module, 2 for yes, as the configuration stands; symbols without ``CONFIG_``.

    A symbol that is not a yes-or-no one has level 0, as in Kconfig itself.
    """
    match expr.op:
        case "&&":
            return min(level(arg, config) for arg in expr.args)
        case "||":
            return max(level(arg, config) for arg in expr.args)
        case "!":
            # Of a macro neither it nor its opposite is unmet.
            return 2 if expr.args[0].op == "macro" else 2 - level(expr.args[0], config)
        case "symbol":
            return _LEVEL.get(_value(expr, config), 0)
        case "text":
            return _LEVEL.get(expr.text, 0)
        case "macro":
            return 2
    left, right = expr.args
    if "macro" in (left.op, right.op):
        return 2
    return 2 if _compare(expr.op, _value(left, config), _value(right, config)) else 0


def unmet(expr: Expr, config: Mapping[str, str], wanted: int = 2) -> list[Expr]:
    """The parts joined by ``&&`` that keep *expr* below the level *wanted*."""
    if level(expr, config) >= wanted:
        return []
    if expr.op == "&&":
        return [part for arg in expr.args for part in unmet(arg, config, wanted)]
    return [expr]


def _value(expr: Expr, config: Mapping[str, str]) -> str:
    if expr.op != "symbol" or expr.text in _LEVEL:
        return expr.text
    if re.fullmatch(r"-?\d+|0[xX][0-9a-fA-F]+", expr.text):
        return expr.text
    # A word that is no option's name is text; names are in capitals.
    return config.get(expr.text, "n" if expr.text.isupper() else expr.text).strip('"')


def _compare(op: str, left: str, right: str) -> bool:
    try:
        a, b = _number(left), _number(right)
        order = (a > b) - (a < b)
    except ValueError:
        order = (left > right) - (left < right)
    return {
        "=": not order,
        "!=": bool(order),
        "<": order < 0,
        ">": order > 0,
        "<=": order <= 0,
        ">=": order >= 0,
    }[op]


def _number(text: str) -> int:
    if text in _LEVEL:
        return _LEVEL[text]
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def peek(self) -> str | None:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else None

    def either(self) -> Expr:
        return self._joined("||", self._all)

    def _all(self) -> Expr:
        return self._joined("&&", self._one)

    def _joined(self, op: str, part: Callable[[], Expr]) -> Expr:
        parts = [part()]
        while self._is_op(op):
            self._at += 1
            parts.append(part())
        return parts[0] if len(parts) == 1 else Expr(op, tuple(parts))

    def _one(self) -> Expr:
        if self._is_op("!"):
            self._at += 1
            return Expr("!", (self._one(),))
        if self._is_op("("):
            self._at += 1
            inner = self.either()
            if not self._is_op(")"):
                raise ExpressionError("a bracket is not closed")
            self._at += 1
            return inner
        left = self._leaf()
        for op in ("=", "!=", "<=", ">=", "<", ">"):
            if self._is_op(op):
                self._at += 1
                return Expr(op, (left, self._leaf()))
        return left

    def _leaf(self) -> Expr:
        if self._at >= len(self._tokens):
            raise ExpressionError("the expression ends too early")
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "op":
            raise ExpressionError(f"{text!r} is not expected there")
        return Expr(kind, text=text)

    def _is_op(self, op: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at] == ("op", op)


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        start = at + len(text[at:]) - len(text[at:].lstrip())
        if text.startswith("$(", start):
            at = _macro_end(text, start)
            found.append(("macro", text[start:at]))
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(f"{text!r} is no expression at {text[at : at + 20]!r}")
        at = match.end()
        kind = match.lastgroup or ""
        quoted = kind in ("dq", "sq")
        is_macro = quoted and "$(" in match[kind]
        name = "macro" if is_macro else "text" if quoted else "symbol" if kind == "word" else kind
        found.append((name, match[kind]))
    return found


def _macro_end(text: str, start: int) -> int:
    depth = 0
    for at in range(start + 1, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if not depth:
            return at + 1
    raise ExpressionError(f"{text[start:]!r} is not closed")
