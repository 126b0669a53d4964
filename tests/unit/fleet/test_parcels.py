# SPDX-License-Identifier: GPL-2.0-only
"""What is sent to a worker, and that the scenario there means what it meant here."""

import json
from pathlib import Path
from typing import Any

import pytest

from ktstr.errors import CannotRun
from ktstr.fleet.pack import pack
from ktstr.fleet.parcel import Parcel
from ktstr.fleet.store import Store
from ktstr.gauntlet.cells import Cell, options_from_json
from ktstr.model.packing import packed_files
from ktstr.model.scenario import load_scenario
from ktstr.model.works.of import all_works
from ktstr.session.definition import define
from ktstr.session.options import RunOptions
from ktstr.telemetry.decode import RecordError

PLAIN = """# A word on it.
[vm]
topology = "1n2l1c1t"
memory = "300M"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "200ms"
cgroups = [{ name = "one", works = [{ type = "SpinWait", workers = 1 }] }]
"""
WITH_FILES = """
name = "files"
kernel = "path:{kernel}"
[vm]
topology = "1n1l1c1t"
[scheduler]
binary = "../progs/sched"
config_file = "sched.toml"
[[steps]]
hold = "200ms"
cgroups = [{{ name = "one", works = [
    {{ type = "Custom", python = "work.py:spin" }},
    {{ type = "Custom", command = "{folder}/progs/tool" }},
] }}]
ops = [{{ op = "RunPayload", name = "pay", command = "../progs/tool", files = ["data.txt"] }}]
"""


def cell_of(path: Path, **options: Any) -> Cell:
    return Cell(path, "x", "", options=RunOptions(**options))


@pytest.fixture
def with_files(tmp_path: Path) -> Path:
    scenes, progs = tmp_path / "scenes", tmp_path / "progs"
    scenes.mkdir()
    progs.mkdir()
    for name in ("sched", "tool"):
        (progs / name).write_bytes(b"\x7fELF" + name.encode())
        (progs / name).chmod(0o755)
    (scenes / "sched.toml").write_text("slice = 1\n")
    (scenes / "data.txt").write_text("data\n")
    (scenes / "work.py").write_text("def spin(work):\n    pass\n")
    (tmp_path / "bzImage").write_bytes(b"kernel")
    path = scenes / "files.toml"
    path.write_text(WITH_FILES.format(folder=tmp_path, kernel=tmp_path / "bzImage"))
    return path


def test_without_files_the_text_travels_as_it_is_with_the_options(tmp_path: Path) -> None:
    path = tmp_path / "my scene.toml"
    path.write_text(PLAIN)
    packed = pack(cell_of(path, topology="1n1l4c1t", seed=3, kernel="debian:7", cold=True))
    parcel = packed.parcel
    assert packed.sources == {} and parcel.files == ()
    # Its name came from its file, which is called otherwise on the worker.
    assert parcel.toml == 'name = "my_scene"\n' + PLAIN
    assert options_from_json(dict(parcel.options)) == RunOptions(
        topology="1n1l4c1t", seed=3, kernel="debian:7", cold=True
    )
    assert parcel.cpus == 4 and parcel.memory_mib >= 300
    assert parcel.fetch == "debian:7"


def test_on_the_worker_the_same_files_are_found_with_the_same_names(
    with_files: Path, tmp_path: Path
) -> None:
    packed = pack(cell_of(with_files, topology="1n1l2c1t"))
    parcel = Parcel.from_json(json.loads(json.dumps(packed.parcel.to_json())))
    assert parcel == packed.parcel
    assert str(tmp_path) not in parcel.toml and parcel.fetch == ""
    store = Store(tmp_path / "store")
    for file in parcel.files:
        content = packed.sources[file.digest].read_bytes()
        store.take(file.digest, "me", 0, content, len(content))
    there = store.lay_out(parcel, tmp_path / "bundle")
    options = options_from_json(dict(parcel.options))
    # The topology is in the text: options and text must not both replace it.
    assert options == RunOptions()
    before, after = load_scenario(with_files), load_scenario(there)
    assert str(define(there, options).topology) == "1n1l2c1t"
    old, new = list(packed_files(before)), list(packed_files(after))
    assert len(old) == 6
    for one, other in zip(old, new, strict=True):
        assert one.guest == other.guest
        assert other.host.is_relative_to(tmp_path / "bundle")
        assert one.host.read_bytes() == other.host.read_bytes()
        assert one.host.stat().st_mode & 0o100 == other.host.stat().st_mode & 0o100
    kind, _, kernel = after.kernel.partition(":")
    assert kind == "path" and (tmp_path / "bundle" / kernel).read_bytes() == b"kernel"
    assert next(work.python for _, work in all_works(after)).endswith("/work.py:spin")


def test_the_same_guest_has_the_same_shape_whatever_is_done_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(PLAIN)
    one = pack(cell_of(path)).parcel.guest
    path.write_text(PLAIN.replace("200ms", "900ms"))
    assert pack(cell_of(path)).parcel.guest == one
    assert pack(cell_of(path, topology="1n1l4c1t")).parcel.guest != one
    assert pack(cell_of(path, memory_mib=400)).parcel.guest != one


@pytest.mark.parametrize(
    ("kernel", "why"),
    [("host", "means another kernel"), ("path:FOLDER", "cannot be sent: a folder")],
)
def test_a_kernel_that_only_this_machine_has_is_refused(
    tmp_path: Path, kernel: str, why: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(PLAIN)
    with pytest.raises(CannotRun, match=why):
        pack(cell_of(path, kernel=kernel.replace("FOLDER", str(tmp_path))))


GOOD: dict[str, Any] = {
    "name": "a",
    "toml": "",
    "options": {},
    "cpus": 1,
    "memory_mib": 1,
    "guest": "g",
    "kernel": None,
    "fetch": "",
    "files": [{"name": "files/0123456789ab/x", "digest": "0" * 64, "size": 1, "executable": False}],
}


@pytest.mark.parametrize(
    "name",
    ["../x", "files/../x", "files/0123456789ab/..", "files/0123456789ab/a/b", "/etc/passwd", "x"],
)
def test_a_file_outside_the_scenario_is_refused(name: str) -> None:
    assert Parcel.from_json(GOOD).files[0].name == "files/0123456789ab/x"
    bad = {**GOOD, "files": [{**GOOD["files"][0], "name": name}]}
    with pytest.raises(RecordError, match="'name' is"):
        Parcel.from_json(bad)


@pytest.mark.parametrize(
    ("key", "value"),
    [("cpus", 0), ("cpus", True), ("options", []), ("toml", "x" * (1 << 21)), ("files", {})],
)
def test_what_is_no_parcel_is_refused_by_its_field(key: str, value: object) -> None:
    with pytest.raises(RecordError, match=f"'{key}' is"):
        Parcel.from_json({**GOOD, key: value})
