# SPDX-License-Identifier: GPL-2.0-only
"""Completion as a real bash asks for it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ktstr.cli.completions import SHELLS, completions, script


def offered(tmp_path: Path, *words: str) -> list[str]:
    """What bash offers at the end of a line, with both programs in PATH."""
    for name, module in (("ktstr", "ktstr.cli.main"), ("ktstr-run", "ktstr.cli.run")):
        program = tmp_path / name
        # An installed program: its own name says by which variable it is asked.
        start = f"import sys; sys.argv[0] = '{name}'; from {module} import main; main()"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{start}" "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "script").write_text(script("bash"))
    line = " ".join(words)
    function = f"_{words[0].replace('-', '_')}_completion"
    bash = (
        f"source {tmp_path}/script\n"
        f"COMP_WORDS=({' '.join(word or repr('') for word in words)})\n"
        f"COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}\n"
        f"{function} {words[0]}\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", bash], capture_output=True, text=True, env=env, check=True, timeout=60
    )
    return done.stdout.split()


def test_commands_and_options_complete(tmp_path: Path) -> None:
    assert offered(tmp_path, "ktstr", "sel") == ["selftests"]
    assert "--topologies" in offered(tmp_path, "ktstr-run", "--topo")


def test_names_complete(tmp_path: Path) -> None:
    assert offered(tmp_path, "ktstr-run", "two_cg") == ["two_cgroups"]
    found = offered(tmp_path, "ktstr-run", "--topologies", "tiny-1llc,tiny-2")
    assert found == ["tiny-1llc,tiny-2llc"]
    assert "debian-7" in offered(tmp_path, "ktstr-run", "--kernel", "debian-")


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_for_both_programs(shell: str) -> None:
    done = CliRunner().invoke(completions, [shell])
    assert done.exit_code == 0
    for word in ("_KTSTR_COMPLETE", "_KTSTR_RUN_COMPLETE"):
        assert word in done.stdout
    if shell == "zsh":
        assert done.stdout.splitlines()[0] == "#compdef ktstr ktstr-run"
        assert done.stdout.count("#compdef") == 1


def test_zsh_offers_only_words_of_the_program_that_is_completed() -> None:
    """One file serves both, and zsh runs all of it when it loads it to complete one of them."""
    loading = [line for line in script("zsh").splitlines() if "loadautofunc" in line]
    assert loading == [
        f"if [[ $zsh_eval_context[-1] == loadautofunc && $service == {program} ]]; then"
        for program in ("ktstr", "ktstr-run")
    ]


def test_another_shell_is_a_mistake_and_no_verdict() -> None:
    done = CliRunner().invoke(completions, ["tcsh"])
    assert done.exit_code == 4
    assert "'bash', 'zsh', 'fish'" in done.stderr
