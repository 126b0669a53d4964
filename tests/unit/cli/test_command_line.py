# SPDX-License-Identifier: GPL-2.0-only
"""A mistake on the command line is no verdict, in whichever command it is made."""

import pytest
from click.testing import CliRunner

from ktstr.cli.main import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("perf-delte", "No such command 'perf-delte'"),
        ("--nosuch", "No such option"),
        ("runs --nosuch", "No such option"),
        ("runs nosuch", "No such command 'nosuch'"),
        ("kernel nosuch", "No such command 'nosuch'"),
        ("kernel fetch", "Missing argument 'SPEC'"),
        ("kernel build --nosuch", "No such option"),
        ("kernel list --nosuch", "No such option"),
        ("metrics --nosuch", "No such option"),
        ("scenarios --nosuch", "No such option"),
        ("schema --nosuch", "No such option"),
        ("image --nosuch", "No such option"),
        ("console --nosuch", "No such option"),
        ("debug --nosuch", "No such option"),
        ("qemu nosuch", "No such command 'nosuch'"),
        ("fleet nosuch", "No such command 'nosuch'"),
    ],
)
def test_a_mistake_is_not_inconclusive(words: str, said: str) -> None:
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code == 4
    assert said in done.stderr
