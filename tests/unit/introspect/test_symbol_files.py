# SPDX-License-Identifier: GPL-2.0-only
"""The file of known symbol addresses, whole and damaged."""

import json
from pathlib import Path

import pytest

from ktstr.introspect.symbols import load_symbols, store_symbols

RUNNING: dict[str, int | None] = {
    "map_idr": 0xFFFFFFFF92000010,
    "runqueues": 0x2E980,
    "scx_ops": None,
}


def test_addresses_move_with_kaslr_and_percpu_offsets_do_not(tmp_path: Path) -> None:
    path = tmp_path / "symbols" / "c0ffee.json"
    store_symbols(path, 0x10000000, RUNNING, "digest")
    assert load_symbols(path, 0x10000000) == (RUNNING, "digest")
    moved = {**RUNNING, "map_idr": 0xFFFFFFFF83000010}
    assert load_symbols(path, 0x1000000) == (moved, "digest")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", json.dumps({"format": 99, "btf": "x", "symbols": {}}),
        json.dumps({"format": 1, "btf": "x"}),
        json.dumps({"format": 1, "btf": "x", "symbols": {"a": "b"}}),
        json.dumps({"format": 1, "btf": "x", "symbols": {"a": -1}}),
        json.dumps({"format": 1, "btf": "x", "symbols": [1]}),
        "x" * 70000,
    ],
)  # fmt: skip
def test_anything_else_is_ignored(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c0ffee.json"
    path.write_text(content)
    assert load_symbols(path, 0) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store_symbols(tmp_path / "file" / "sub" / "x.json", 0, RUNNING, "digest")
    assert load_symbols(tmp_path / "file" / "sub" / "x.json", 0) is None
