# SPDX-License-Identifier: GPL-2.0-only
"""A leader that is started before it has work: the words come through its commands."""

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

LIMIT_S = 60


def told(*words: str) -> bytes:
    text = b"".join(word.encode() + b"\0" for word in words)
    return struct.pack("<H", len(text)) + text


@pytest.fixture
def waiting(worker_binary: Path) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([worker_binary, "wait"], stdin=pipe, stdout=pipe, stderr=pipe) as leader:
        yield leader
        leader.kill()


def messages(output: bytes) -> list[tuple[str, bytes]]:
    found = []
    while output:
        (length,) = struct.unpack_from("<I", output)
        found.append((output[4:5].decode(), output[5 : 4 + length]))
        output = output[4 + length :]
    return found


def led(leader: subprocess.Popen[bytes], *pieces: bytes) -> list[tuple[str, bytes]]:
    """What it says to these, and to a stop once all stand ready, until it is done."""
    assert leader.stdin is not None and leader.stdout is not None
    for piece in pieces:
        leader.stdin.write(piece)
        leader.stdin.flush()
    found: list[tuple[str, bytes]] = []
    while not found or found[-1][0] not in "DE":
        head = leader.stdout.read(5)
        assert len(head) == 5, "it ended early"
        (length,) = struct.unpack_from("<I", head)
        found.append((head[4:].decode(), leader.stdout.read(length - 1)))
        if found[-1][0] == "P":
            leader.stdin.write(b"T")
            leader.stdin.flush()
    leader.communicate(timeout=LIMIT_S)
    return found


def test_it_leads_what_it_is_told_and_takes_the_commands_behind_that(
    waiting: subprocess.Popen[bytes],
) -> None:
    words = told("type=SpinWait", "workers=2", "step=3", "cgroup=x")
    found = led(waiting, words + b"S")
    assert waiting.returncode == 0
    assert [kind for kind, _ in found] == ["P", "R", "R", "D"]
    assert len(msgpack.unpackb(found[0][1])) == 2
    for _, payload in found[1:3]:
        report = msgpack.unpackb(payload, strict_map_key=False)
        assert (report["work_type"], report["step"], report["cgroup"]) == ("SpinWait", 3, "x")
        assert report["report"]["completed"]


def test_words_may_come_in_pieces(waiting: subprocess.Popen[bytes]) -> None:
    words = told("type=SpinWait", "workers=1")
    found = led(waiting, words[:1], words[1:5], words[5:])
    assert [kind for kind, _ in found] == ["P", "R", "D"]


@pytest.mark.parametrize("part", [b"", b"\x20", told("type=SpinWait", "workers=1")[:-3]])
def test_who_is_told_nothing_whole_ends_without_a_word(
    waiting: subprocess.Popen[bytes], part: bytes
) -> None:
    assert waiting.communicate(part, timeout=LIMIT_S) == (b"", b"")
    assert waiting.returncode == 0


@pytest.mark.parametrize(
    "nonsense",
    [
        struct.pack("<H", 0),
        struct.pack("<H", 4097) + b"x" * 4096 + b"\0",
        struct.pack("<H", 3) + b"a=b",
        told(*["a=b"] * 129),
    ],
    ids=["nothing", "too long", "no end", "too many"],
)
def test_nonsense_is_refused(waiting: subprocess.Popen[bytes], nonsense: bytes) -> None:
    output, _ = waiting.communicate(nonsense, timeout=LIMIT_S)
    assert messages(output) == [("E", b"wait: what came is not a list of KEY=VALUE")]
    assert waiting.returncode == 2


def test_a_mistake_in_the_words_is_told_as_ever(waiting: subprocess.Popen[bytes]) -> None:
    output, _ = waiting.communicate(told("type=SpinWait", "workers=0"), timeout=LIMIT_S)
    (message,) = messages(output)
    assert message[0] == "E" and message[1].startswith(b"SpinWait: workers must be")


def test_a_cgroup_that_is_not_there_is_named(waiting: subprocess.Popen[bytes]) -> None:
    words = told("type=SpinWait", "workers=1", "cgroup_at=/nowhere/x")
    output, _ = waiting.communicate(words, timeout=LIMIT_S)
    wanted = 'SpinWait: cgroup_at must be the path of a cgroup\'s folder, found "/nowhere/x"'
    assert messages(output) == [("E", wanted.encode())]


def test_its_workers_begin_in_the_cgroup_at_that_path(
    waiting: subprocess.Popen[bytes], cgroup: Path
) -> None:
    assert waiting.stdin is not None and waiting.stdout is not None
    waiting.stdin.write(told("type=SpinWait", "workers=2", f"cgroup_at={cgroup}"))
    waiting.stdin.flush()
    head = waiting.stdout.read(5)
    pids = msgpack.unpackb(waiting.stdout.read(struct.unpack_from("<I", head)[0] - 1))
    inside = map(int, (cgroup / "cgroup.procs").read_text().split())
    assert sorted(inside) == sorted(pids) and len(pids) == 2
    waiting.communicate(b"T", timeout=LIMIT_S)
