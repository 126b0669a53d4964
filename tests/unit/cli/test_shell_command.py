# SPDX-License-Identifier: GPL-2.0-only
"""ktstr shell: its escapes, its terminal, and mistakes on its command line."""

import os
import pty
import termios
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner

from ktstr.cli.main import main as ktstr
from ktstr.cli.terminal import Action, Escapes, chunks, raw, size_of, write_all
from ktstr.errors import DefinitionInvalid
from ktstr.session.guest import Wanted, guest_definition, guest_scenario
from ktstr.session.options import RunOptions
from ktstr.session.program import Size


def fed(*pieces: bytes) -> list[bytes | Action]:
    escapes = Escapes()
    return [part for piece in pieces for part in escapes.feed(piece)]


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ([b"ls -l\r\x03"], [b"ls -l\r\x03"]),
        ([b"\x1dq"], [Action.LEAVE]),
        ([b"ab\x1dqcd"], [b"ab", Action.LEAVE, b"cd"]),
        ([b"ab\x1d", b"qcd"], [b"ab", Action.LEAVE, b"cd"]),
        ([b"\x1d\x1dq"], [b"\x1dq"]),
        ([b"\x1d", b"\x1d", b"q"], [b"\x1d", b"q"]),
        # A key without a meaning was not for us.
        ([b"\x1dx"], [b"\x1dx"]),
        ([b"\x1d?\x1dc"], [Action.HELP, Action.CONSOLE]),
        ([b"q", b""], [b"q"]),
    ],
)
def test_escapes(typed: list[bytes], parts: list[bytes | Action]) -> None:
    assert fed(*typed) == parts


def test_a_raw_terminal_is_restored_whatever_happens() -> None:
    master, slave = pty.openpty()
    try:
        before = termios.tcgetattr(slave)
        with pytest.raises(RuntimeError), raw(slave):
            assert not termios.tcgetattr(slave)[3] & (termios.ISIG | termios.ICANON | termios.ECHO)
            raise RuntimeError
        assert termios.tcgetattr(slave) == before
        with raw(slave):
            os.close(master)  # it hangs up
    finally:
        os.close(slave)


def test_the_size_of_what_is_no_terminal(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        assert size_of(file.fileno()) == Size(24, 80)


def test_reading_and_writing_pipes_and_files(tmp_path: Path) -> None:
    async def through() -> list[bytes]:
        (tmp_path / "in").write_bytes(b"from a file")
        found: list[bytes] = []
        for path in (str(tmp_path / "in"), os.devnull):
            descriptor = os.open(path, os.O_RDONLY)
            found += [data async for data in chunks(descriptor)]
            os.close(descriptor)
        out, into = os.pipe()
        async with anyio.create_task_group() as group:

            async def write() -> None:
                # More than a pipe holds.
                await write_all(into, bytes(200_000))
                os.close(into)

            group.start_soon(write)
            pieces = [data async for data in chunks(out)]
        os.close(out)
        with (tmp_path / "out").open("wb") as file:
            await write_all(file.fileno(), b"to a file")
        return [*found, b"".join(pieces), (tmp_path / "out").read_bytes()]

    assert anyio.run(through) == [b"from a file", bytes(200_000), b"to a file"]


def test_help_and_the_list_of_commands() -> None:
    done = CliRunner().invoke(ktstr, ["shell", "--help"])
    assert done.exit_code == 0 and "3 guest lost" in done.output
    assert "Open a shell in a guest" in CliRunner().invoke(ktstr, ["--help"]).output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--timeout", "5"], "--timeout is for --exec"),
        (["--exec", "x", "--timeout", "nan"], "a number of seconds"),
        (["--exec", "x", "--timeout", "0"], "x>0"),
        (["--accel", "magic"], "magic"),
        (["--nonsense"], "nonsense"),
        (["word"], "word"),
    ],
)
def test_mistakes_exit_with_4(args: list[str], words: str) -> None:
    done = CliRunner().invoke(ktstr, ["shell", *args])
    assert done.exit_code == 4 and words in done.output


def test_mistakes_are_told_by_option() -> None:
    wanted = Wanted(topology="9x", memory="3", scheduler="nix", kernel_args=("a b",))
    with pytest.raises(DefinitionInvalid) as found:
        guest_scenario(wanted)
    assert [(p.key, p.line) for p in found.value.problems] == [
        ("--topology", None),
        ("--memory", None),
        ("--kernel-arg", None),
    ]
    with pytest.raises(DefinitionInvalid) as found:
        guest_scenario(Wanted(scheduler="nix"))
    assert [p.key for p in found.value.problems] == ["--scheduler"]


def test_what_a_guest_without_a_scenario_is_told() -> None:
    wanted = Wanted("path:/k", "1n2l2c1t", "1G", "scx_ktstr", ("one", "two=2"))
    definition = guest_definition(wanted, RunOptions())
    scenario = definition.scenario
    assert (scenario.kernel, definition.topology.cpus, scenario.vm.memory_mib) == (
        "path:/k",
        4,
        1024,
    )
    assert scenario.scheduler.kernel_args == ("one", "two=2")
    assert definition.plan["scheduler"]["kind"] == "bpf"
    assert definition.plan["programs"] == {} and "steps" not in definition.plan
    assert guest_definition(Wanted(), RunOptions()).plan["scheduler"]["kind"] == "none"
