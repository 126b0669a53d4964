# SPDX-License-Identifier: GPL-2.0-only
"""Custom work that is a Python function: how it is named, checked and started in the guest."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

GUEST_PYTHON: Final = "/ktstr/python/bin/python3"
PYTHON_FLAGS: Final = ("-I", "-S", "-B")
GUEST_CUSTOM: Final = "/ktstr/custom.pyc"
"""Runs ``guest/agent/custom.py``."""

PythonCall = Annotated[
    str,
    Field(
        strict=True,
        pattern=r"^[^\x00\x1f]*[^\x00\x1f/]\.py:[A-Za-z_][A-Za-z0-9_]*$",
        max_length=4096,
        json_schema_extra={"x-allowed": 'a Python file and a function of it, "FILE.py:FUNCTION"'},
    ),
]


def split_call(call: str) -> tuple[str, str]:
    """File and function of a :data:`PythonCall`."""
    file, _, function = call.rpartition(":")
    return file, function


def command_words(guest_file: str, function: str) -> tuple[str, ...]:
    """The words behind :data:`GUEST_PYTHON` that run a function of a file in the guest."""
    return (*PYTHON_FLAGS, GUEST_CUSTOM, guest_file, function)


def file_mistakes(path: Path, function: str) -> Iterator[str]:
    """What is allowed instead of a file that cannot be compiled or has no such function.

    The file is parsed and not run. A name that is assigned or imported counts as a function.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError, OSError) as error:
        yield f"a file that Python can compile ({path}: {error})"
        return
    names = set(_names(tree))
    if function not in names:
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        yield f"a function of {path}: {', '.join(functions) or 'it has none'}"


def import_statements(path: Path) -> set[str]:
    """The absolute imports anywhere in a file, one statement each.

    :raises SyntaxError: for a file that :func:`file_mistakes` complains about.
    """
    return {
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_bytes(), str(path)))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
    }


def _names(tree: ast.Module) -> Iterator[str]:
    # Inside an "if" or a "try" a function is the module's as well.
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name
