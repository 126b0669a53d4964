# SPDX-License-Identifier: GPL-2.0-only
"""Custom work that is a Python function: what is a mistake, what is packed, what is started."""

from pathlib import Path

import pytest

from ktstr.errors import DefinitionInvalid
from ktstr.model.packing import packed_files, python_imports
from ktstr.model.plan import build_plan
from ktstr.model.scenario import Scenario, scenario_from_toml

SOURCE = """
import time as clock
LATER = print
def one(ctx): pass
if clock:
    def two(ctx): pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "mine.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("def one(:\n")
    (tmp_path / "program").touch()
    return tmp_path


def scenario(folder: Path, work: str) -> Scenario:
    return scenario_from_toml(
        f"""
        vm = {{ topology = "1n1l2c1t" }}
        scheduler = {{ kernel_default = true }}
        steps = [{{ hold = "1s", cgroups = [{{ name = "a", works = [{{ {work} }}] }}] }}]
        """,
        file=str(folder / "s.toml"),
    )


def mistakes(folder: Path, work: str) -> dict[str, str]:
    with pytest.raises(DefinitionInvalid) as raised:
        scenario(folder, work)
    at = "steps[0].cgroups[0].works[0]."
    return {problem.key.removeprefix(at): problem.allowed for problem in raised.value.problems}


@pytest.mark.parametrize("function", ["one", "two", "LATER", "clock"])
def test_the_file_is_packed_and_the_guests_python_started(folder: Path, function: str) -> None:
    work = f'type = "Custom", python = "in/mine.py:{function}", args = ["x", "y z"]'
    made = scenario(folder, work)
    (packed,) = packed_files(made)
    assert (packed.host, packed.guest) == (folder / "in" / "mine.py", "/ktstr/work/mine.py")
    plan = build_plan(made, made.vm.topology)["steps"][0]["cgroups"][0]["works"][0]
    assert plan["program"] == "/ktstr/python/bin/python3"
    words = ["-I", "-S", "-B", "/ktstr/custom.pyc", "/ktstr/work/mine.py", function, "x", "y z"]
    assert plan["args"] == "\x1f".join(words)
    assert "python" not in plan and "command" not in plan


@pytest.mark.parametrize(
    ("work", "key", "words"),
    [
        ('type = "Custom", python = "in/mine.py"', "python", '"FILE.py:FUNCTION"'),
        ('type = "Custom", python = "in/mine.py:"', "python", '"FILE.py:FUNCTION"'),
        ('type = "Custom", python = "in/mine:one"', "python", '"FILE.py:FUNCTION"'),
        ('type = "Custom", python = "in/.py:one"', "python", '"FILE.py:FUNCTION"'),
        ('type = "Custom", python = "none.py:one"', "python", "none.py"),
        ('type = "Custom", python = "in/mine.py:on"', "python", "mine.py: one"),
        ('type = "Custom", python = "broken.py:one"', "python", "Python can compile"),
        ('type = "Custom", python = "in/mine.py:one", command = "program"', "python", "not both"),
        ('type = "SpinWait", python = "in/mine.py:one"', "python", "nothing with other types"),
        ('type = "Custom"', "command", "or python with a function"),
        ('type = "Customs", python = "in/mine.py:one", args = ["x"]', "type", "Custom"),
    ],
)
def test_each_mistake_is_told_once(folder: Path, work: str, key: str, words: str) -> None:
    found = mistakes(folder, work)
    assert list(found) == [key]
    assert words in found[key]


def test_imports_are_found_wherever_they_are(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "import os.path, json as j\n"
        "from a.b import c as d\n"
        "def one(ctx):\n"
        "    from math import pi\n"
        "    from . import sibling\n"
        "    from .near import sibling\n"
    )
    (folder / "other.py").write_text("import time\ndef two(ctx): pass\n")
    composed = '[{ type = "Custom", python = "other.py:two" }, { type = "SpinWait" }]'
    made = scenario(folder, f'type = "Custom", python = "mine.py:one", composed = {composed}')
    assert python_imports(made) == {
        "import os.path, json as j",
        "from a.b import c as d",
        "from math import pi",
        "import time",
    }
