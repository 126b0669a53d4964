# SPDX-License-Identifier: GPL-2.0-only
"""The Kconfig files of a source tree, read as far as telling why an option was not kept needs it.

Language: Documentation/kbuild/kconfig-language.rst. What cannot be read is left out: the answer is
an explanation for people, the configuration itself was made by the tree's own programs.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.kernels.build.kconfig_expr import Expr, ExpressionError, parse_expression

_MAX_DEPTH = 50
_MAX_BYTES = 4 << 20
_WORDS = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|\S)+""")
_TYPES = frozenset(("bool", "tristate", "string", "int", "hex"))


@dataclass(slots=True)
class Definition:
    """One ``config`` block; an option may have several.

    :param where: file and line in the tree.
    :param depends: what it and all blocks around it depend on.
    :param prompts: the conditions of its prompts; without one nobody can set it by hand.
    :param selects: options that are forced on with it, and under which condition.
    :param choice: number of the choice it is a member of.
    """

    name: str
    where: str
    depends: list[Expr] = field(default_factory=list)
    prompts: list[Expr] = field(default_factory=list)
    selects: list[tuple[str, Expr]] = field(default_factory=list)
    choice: int | None = None


@dataclass(slots=True)
class _Block:
    """A ``menu``, ``choice`` or ``if`` that is open."""

    kind: str
    depends: list[Expr] = field(default_factory=list)
    visible: list[Expr] = field(default_factory=list)
    choice: int | None = None


ALWAYS = Expr("symbol", text="y")


class Kconfig:
    """All definitions below *tree*/Kconfig.

    :param variables: what ``$(NAME)`` stands for in ``source`` lines.
    """

    def __init__(self, tree: Path, variables: dict[str, str] | None = None) -> None:
        self.definitions: dict[str, list[Definition]] = {}
        self._tree = tree
        self._variables = {"SRCARCH": "x86", "srctree": str(tree), **(variables or {})}
        self._blocks: list[_Block] = []
        self._choices = 0
        self._open: list[str] = []
        self._read("Kconfig")

    def selectors(self, name: str) -> list[tuple[Definition, Expr]]:
        """The definitions that force *name* on, and under which condition."""
        return [
            (definition, condition)
            for definitions in self.definitions.values()
            for definition in definitions
            for selected, condition in definition.selects
            if selected == name
        ]

    def members(self, choice: int) -> list[str]:
        """Names of a choice's options."""
        found = (d for definitions in self.definitions.values() for d in definitions)
        return [definition.name for definition in found if definition.choice == choice]

    def _read(self, name: str) -> None:
        path = self._tree / name
        if name in self._open or len(self._open) > _MAX_DEPTH:
            return  # a file that names itself: the kernel's own reader refuses it
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                lines = file.read(_MAX_BYTES).splitlines()
        except OSError:
            return  # `source` of a file that this version does not have
        self._open.append(name)
        depth = len(self._blocks)
        current: Definition | None = None
        at = 0
        while at < len(lines):
            number, text, at = at + 1, lines[at], at + 1
            while text.endswith("\\") and at < len(lines):
                text, at = text[:-1] + " " + lines[at], at + 1
            words = _WORDS.findall(_without_comment(text))
            if not words:
                continue
            if words[0] in ("help", "---help---"):
                at = _after_help(lines, at)
                continue
            with suppress(ExpressionError, IndexError):
                current = self._statement(words, current, f"{name}:{number}")
        del self._blocks[depth:]
        self._open.pop()

    def _statement(
        self, words: list[str], current: Definition | None, where: str
    ) -> Definition | None:
        keyword, rest = words[0], words[1:]
        if keyword in ("config", "menuconfig"):
            return self._open_config(rest[0], where)
        if keyword in ("source", "rsource", "osource", "orsource"):
            self._read(self._expand(_unquoted(rest[0])))
            return None
        if keyword in ("menu", "choice", "if", "comment"):
            self._open_block(keyword, rest)
            return None
        if keyword in ("endmenu", "endchoice", "endif"):
            while self._blocks and self._blocks.pop().kind != keyword[3:]:
                pass
            return None
        self._property(keyword, rest, current)
        return current

    def _open_config(self, name: str, where: str) -> Definition:
        self._close_comment()
        choice = next((b.choice for b in reversed(self._blocks) if b.choice is not None), None)
        definition = Definition(name, where, choice=choice)
        for block in self._blocks:
            definition.depends += block.depends
        self.definitions.setdefault(name, []).append(definition)
        return definition

    def _open_block(self, kind: str, rest: list[str]) -> None:
        self._close_comment()
        block = _Block(kind)
        if kind == "if":
            block.depends.append(parse_expression(" ".join(rest)))
        if kind == "choice":
            self._choices += 1
            block.choice = self._choices
        self._blocks.append(block)

    def _close_comment(self) -> None:
        """A comment has no end of its own: the next entry is outside it."""
        if self._blocks and self._blocks[-1].kind == "comment":
            self._blocks.pop()

    def _property(self, keyword: str, rest: list[str], current: Definition | None) -> None:
        if keyword in ("depends", "visible"):
            words, condition = _split_if(rest[1:] if keyword == "depends" else ["y", *rest])
            expr = parse_expression(" ".join(words)) if keyword == "depends" else condition
            if keyword == "depends" and condition is not ALWAYS:
                expr = Expr("||", (expr, Expr("!", (condition,))))
            if current is not None:
                current.depends.append(expr)
            elif self._blocks:
                block = self._blocks[-1]
                (block.depends if keyword == "depends" else block.visible).append(expr)
            return
        if current is None:
            return
        words, condition = _split_if(rest)
        if keyword == "select":
            current.selects.append((words[0], condition))
        elif keyword == "prompt" or (keyword in _TYPES and words):
            visible = [expr for block in self._blocks for expr in block.visible]
            parts = tuple(e for e in (*visible, condition) if e is not ALWAYS)
            current.prompts.append(
                ALWAYS if not parts else parts[0] if len(parts) == 1 else Expr("&&", parts)
            )

    def _expand(self, text: str) -> str:
        return re.sub(r"\$\(?(\w+)\)?", lambda m: self._variables.get(m[1], ""), text)


def _split_if(words: Iterable[str]) -> tuple[list[str], Expr]:
    """What stands before ``if``, and the condition after it."""
    words = list(words)
    if "if" not in words:
        return words, ALWAYS
    at = words.index("if")
    return words[:at], parse_expression(" ".join(words[at + 1 :]))


def _unquoted(word: str) -> str:
    return word[1:-1] if word[:1] in ("'", '"') else word


def _without_comment(text: str) -> str:
    quote = ""
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#":
            return text[:at]
    return text


def _after_help(lines: list[str], at: int) -> int:
    """The line after a help text: the first one indented less than the text's first line."""
    indent: int | None = None
    while at < len(lines):
        text = lines[at].expandtabs(8)
        if text.strip():
            depth = len(text) - len(text.lstrip())
            if indent is None:
                indent = depth
            if depth < indent or not indent:
                return at
        at += 1
    return at
