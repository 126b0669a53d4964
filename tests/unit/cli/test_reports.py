# SPDX-License-Identifier: GPL-2.0-only
"""Reports as files: whole, and in the place of nothing that is no file."""

import os
import stat
from pathlib import Path

import pytest

from ktstr.cli import traces
from ktstr.cli.reports import write_whole


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_text("before, and longer")
    write_whole(tmp_path / "r.xml", "now")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("r.xml", "now")]


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real").write_text("before, and longer")
    write_whole(tmp_path / "link", "now")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "now"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, "now")
        assert os.read(reader, 100) == b"now"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_traces_of_two_records_of_one_name_are_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [tmp_path / folder / "x-1.ktstr.json" for folder in ("a", "b")]
    monkeypatch.setattr(traces, "read_sidecar", lambda path: path)
    monkeypatch.setattr(traces, "perfetto_trace", lambda path: str(path).encode())
    assert list(traces.write_each(tmp_path / "out", records)) == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "x-1-2.pftrace",
        "x-1.pftrace",
    ]
