# SPDX-License-Identifier: GPL-2.0-only
"""What belongs to a run's identity, and what only to the host that it ran on."""

import hashlib
import json
from pathlib import Path

import pytest

from ktstr.errors import ExitCode
from ktstr.session.identity import (
    digest_of_file,
    identity_bytes,
    identity_digest,
    identity_of,
)
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.read import SidecarUnreadable, read_sidecar
from ktstr.session.sidecar.write import sidecar_values, write_sidecar


def record(run_id: str = "1", **facts: object) -> RunRecord:
    made = RunRecord(run_id, "x", ExitCode.GUEST_LOST, error="gone")
    made.facts = {"virtual": {"seed": 7}, **facts}
    made.host = {"wall_s": 1.5}
    return made


def identified(made: RunRecord) -> RunRecord:
    made.facts["identity"] = identity_of(sidecar_values(made))
    return made


def test_the_bytes_are_those_of_the_rest_in_one_form() -> None:
    values = {"b": [1, 2.5, None], "host": {"pid": 1}, "a": "ü", "identity": "x", "repro": {}}
    assert identity_bytes(values) == b'{"a":"\\u00fc","b":[1,2.5,null]}'
    expected = hashlib.sha256(b'{"a":"\\u00fc","b":[1,2.5,null]}').hexdigest()
    assert identity_of(dict(reversed(values.items()))) == expected


def test_the_record_says_what_is_computed_from_it(tmp_path: Path) -> None:
    path = write_sidecar(tmp_path, identified(record()))
    written = json.loads(path.read_text())["identity"]
    assert identity_digest(path) == identity_digest(tmp_path) == written
    assert read_sidecar(path).facts["identity"] == written


def test_runs_that_differ_on_the_host_alone_are_the_same_run(tmp_path: Path) -> None:
    one, other = record("1"), record("2")
    other.host |= {"wall_s": 99.0, "qemu_command": "/tmp/elsewhere"}
    other.evidence = tmp_path
    other.facts["repro"] = {"record": "/tmp/elsewhere"}
    assert identity_of(sidecar_values(one)) == identity_of(sidecar_values(other))


@pytest.mark.parametrize(
    "changed",
    [
        {"virtual": {"seed": 8}},
        {"notes": ["one more"]},
        {"topology": "1n1l1c1t"},
    ],
)
def test_runs_that_differ_elsewhere_are_not(changed: dict[str, object]) -> None:
    assert identity_of(sidecar_values(record())) != identity_of(sidecar_values(record(**changed)))


def test_a_repetition_is_not_the_run_of_its_folder(tmp_path: Path) -> None:
    first = write_sidecar(tmp_path, identified(record("1")))
    write_sidecar(tmp_path, identified(record("1.repro", topology="other")))
    assert identity_digest(tmp_path) == identity_digest(first)


@pytest.mark.parametrize("names", [[], ["1", "2"]])
def test_a_folder_without_one_run_has_no_identity(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        write_sidecar(tmp_path, record(name))
    with pytest.raises(SidecarUnreadable, match=f"has {len(names)} records"):
        identity_digest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_what_is_no_record_has_no_identity(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ktstr.json"
    path.write_bytes(content)
    with pytest.raises(SidecarUnreadable, match=r"x\.ktstr\.json"):
        identity_digest(path)


def test_a_file_is_digested_whole(tmp_path: Path) -> None:
    path = tmp_path / "frames.bin"
    path.write_bytes(b"abc")
    # FIPS 180-2, the example for SHA-256.
    assert digest_of_file(path) == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
