# SPDX-License-Identifier: GPL-2.0-only
"""Which tests there are, and what their runs are asked to be."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.pytest_plugin.project import Project, cases, made, text


def listed(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line]


def test_each_preset_and_kernel_is_a_test(project: Project, pytester: pytest.Pytester) -> None:
    source = """
@pytest.mark.ktstr("passes.toml", presets=["tiny-1llc", "tiny-2llc"], kernels=["debian:7"])
def test_takes_it(ktstr):
    assert ktstr.record.facts["topology"] in ("tiny-1llc", "tiny-2llc")

@pytest.mark.ktstr("passes.toml", kernels=["a", "b"])
def test_takes_nothing(): pass
"""
    assert listed(project(source, "--collect-only", "-q")) == [
        "test_it.py::test_takes_it[tiny-1llc-debian:7]",
        "test_it.py::test_takes_it[tiny-2llc-debian:7]",
        "test_it.py::test_takes_nothing[a]",
        "test_it.py::test_takes_nothing[b]",
    ]
    assert project(source).parseoutcomes() == {"passed": 4}
    assert [(each["topology"], each["kernel"]) for each in made(pytester.path)] == [
        ("tiny-1llc", "debian:7"),
        ("tiny-2llc", "debian:7"),
        (None, "a"),
        (None, "b"),
    ]


def test_the_markers_of_class_and_module_hold_too(
    project: Project, pytester: pytest.Pytester
) -> None:
    source = """
pytestmark = pytest.mark.ktstr(kernel="debian:7", seed=1)

@pytest.mark.ktstr("passes.toml", timeout=30)
class TestAll:
    @pytest.mark.ktstr(seed=2)
    def test_one(self): pass

    def test_two(self, ktstr):
        assert ktstr.passed
"""
    assert project(source).parseoutcomes() == {"passed": 2}
    assert [(m["kernel"], m["seed"], m["timeout"]) for m in made(pytester.path)] == [
        ("debian:7", 2, 30),
        ("debian:7", 1, 30),
    ]


def test_other_parameters_multiply_and_other_tests_are_left_alone(project: Project) -> None:
    source = """
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.ktstr("passes.toml", presets=["tiny-1llc", "tiny-2llc"])
def test_both(n, ktstr): pass

@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.ktstr("passes.toml", presets=["tiny-1llc"])
def test_no_fixture(n): pass

def test_other(tmp_path): pass
"""
    result = project(source, "--ktstr-kernel", "a", "--ktstr-kernel", "b")
    assert result.parseoutcomes() == {"passed": 2 * 2 * 2 + 2 * 2 + 1}


def test_a_marker_that_cannot_be_is_an_error_of_the_collection(project: Project) -> None:
    result = project('@pytest.mark.ktstr("passes.toml", toplogy="x")\ndef test_it(): pass\n')
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*the marker ktstr: there is no argument 'toplogy'; there are*"])


def test_a_fixture_of_the_same_name_is_the_projects_own(project: Project) -> None:
    source = """
@pytest.fixture
def ktstr(): return "mine"

def test_it(ktstr):
    assert ktstr == "mine"
"""
    result = project(source, "--ktstr-kernel", "a", "--ktstr-kernel", "b")
    assert result.parseoutcomes() == {"passed": 1}


def test_a_body_makes_as_many_runs_as_it_wants(project: Project, pytester: pytest.Pytester) -> None:
    source = """
from ktstr.scenario import cgroup, scenario, work

@pytest.mark.ktstr(presets=["tiny-2llc"], seed=3)
def test_it(ktstr, request):
    made = (scenario("passes").topology("1n1l2c1t").scheduler(kernel_default=True)
            .step(hold="1s", cgroups=[cgroup("a", works=[work("SpinWait", workers=2)])]))
    one = ktstr(made)
    two = ktstr("passes.toml", topology="1n1l4c1t", scheduler="none", flags="a+b")
    three = ktstr("fails.toml", check=False, clock="virtual", seed=4)
    assert (one.passed, two.passed, three.outcome) == (True, True, "fail")
    assert ktstr.runs == (one, two, three)
    assert three.reasons[0] == "[Benchmark] too slow by half"
    assert one.phase("spin") is one.phase("Step[0]") is one.phases[1]
    assert one.notes == ("the run's own remark",)
    with pytest.raises(KeyError, match="the phases of this run: BASELINE, Step.0. spin"):
        one.phase("burst")
"""
    assert project(source).parseoutcomes() == {"passed": 1}
    one, two, three = made(pytester.path)
    assert Path(one["file"]).parent == pytester.path / "ktstr-runs" / "scenarios"
    assert (one["topology"], one["seed"], one["clock"]) == ("tiny-2llc", 3, None)
    assert (two["topology"], two["scheduler"], two["flags"]) == ("1n1l4c1t", "none", ["a", "b"])
    assert (three["topology"], three["seed"], three["clock"]) == ("tiny-2llc", 4, "virtual")


def test_a_run_of_the_body_that_fails_names_its_line(project: Project) -> None:
    source = """
def test_it(ktstr):
    ktstr("passes.toml")
    ktstr("fails.toml")
    open("went on", "w")
"""
    result = project(source, "--junit-xml=out.xml")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        ["fail: fails: *", "  at *test_it.py:5", "* stats, fails id-2 *", "* again, passes id-1 *"]
    )
    assert not Path("went on").exists()
    found = cases(Path("out.xml"))["test_it"]
    names = [each.attrib["name"] for each in found.iter("property")]
    assert "verdict" in names
    assert "run2.verdict" in names


def test_without_capturing_a_run_tells_as_it_goes(project: Project) -> None:
    source = '@pytest.mark.ktstr("passes.toml")\ndef test_it(): print("then the body")\n'
    told = ["booted the pretended guest (0.1 s)", "a remark on the way"]
    aloud = project(source, "-s").outlines
    assert [line for line in aloud if line in told] == told
    assert not set(told) & set(project(source).outlines)


def test_a_test_that_is_run_again_tells_of_its_last_time_only(
    project: Project, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        again="""
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    runtestprotocol(item, log=False, nextitem=nextitem)
    item._initrequest()
    runtestprotocol(item, nextitem=nextitem)
    return True
"""
    )
    pytester.syspathinsert()
    source = '@pytest.mark.ktstr("passes.toml")\ndef test_it(request):\n'
    source += '    request.node.user_properties.append(("own", 1))\n'
    project(source, "-p", "again", "--junit-xml=out.xml")
    names = [
        (each.attrib["name"], each.attrib["value"])
        for each in cases(pytester.path / "out.xml")["test_it"].iter("property")
    ]
    assert [value for name, value in names if name == "run_id"] == ["id-2"]
    assert [name for name, _ in names].count("iteration_rate") == 1


def test_what_the_body_may_not_ask_is_said(project: Project) -> None:
    result = project(
        """
def test_word(ktstr):
    with pytest.raises(TypeError, match="no argument 'toplogy'"):
        ktstr("passes.toml", toplogy="x")
    with pytest.raises(TypeError, match="an integer from 0"):
        ktstr("passes.toml", seed=-1)
    with pytest.raises(pytest.UsageError, match="this test has no run yet"):
        ktstr.verdict
"""
    )
    assert result.parseoutcomes() == {"passed": 1}


def test_what_is_expected_to_fail_is_not_run_again_with_probes(
    project: Project, pytester: pytest.Pytester
) -> None:
    project('@pytest.mark.ktstr("fails.toml", expect_fail=True)\ndef test_it(): pass\n')
    assert made(pytester.path)[0]["auto_repro"] is False


@pytest.mark.parametrize(("said", "asked"), [("0", False), ("yes", True), ("", None)])
def test_the_environment_says_whether_failures_are_run_again(
    project: Project,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    asked: bool | None,
) -> None:
    monkeypatch.setenv("KTSTR_AUTO_REPRO", said)
    project('@pytest.mark.ktstr("fails.toml")\ndef test_it(): pass\n')
    assert made(pytester.path)[0]["auto_repro"] is asked


def test_a_scheduler_beside_the_test_is_found_there(
    project: Project, pytester: pytest.Pytester
) -> None:
    (pytester.path / "mine.bpf.o").write_bytes(b"")
    project('@pytest.mark.ktstr("passes.toml", scheduler="mine.bpf.o")\ndef test_it(): pass\n')
    project('@pytest.mark.ktstr("passes.toml", scheduler="scx_ktstr")\ndef test_it(): pass\n')
    schedulers = [each["scheduler"] for each in made(pytester.path)]
    assert schedulers == [str(pytester.path / "mine.bpf.o"), "scx_ktstr"]


def test_scenario_files_of_the_name_are_tests(project: Project, pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("deep")
    for name in ("passes", "fails", "skips"):
        (folder / f"ktstr_{name}.toml").write_text(text(name))
    (folder / "ktstr_broken.toml").write_text("name = [")
    (folder / "other.toml").write_text(text("passes"))
    result = project("", "-v")
    assert result.parseoutcomes() == {"passed": 1, "failed": 1, "skipped": 1, "errors": 1}
    result.stdout.fnmatch_lines(
        [
            "deep/ktstr_broken.toml::ktstr_broken *",
            "deep/ktstr_fails.toml::fails FAILED*",
            "deep/ktstr_passes.toml::passes PASSED*",
            "deep/ktstr_skips.toml::skips SKIPPED*",
            "fail: fails: *",
            "pytest deep/ktstr_fails.toml::fails",
        ]
    )
    assert project("", "deep/other.toml::passes").parseoutcomes() == {"passed": 1}
    several = project(
        "", "deep/ktstr_passes.toml", "--ktstr-topology=a", "--ktstr-topology=b", "-v"
    )
    assert "deep/ktstr_passes.toml::passes[b]" in several.stdout.str()


def test_a_topology_from_outside_that_has_no_place_for_it_is_a_skip(project: Project) -> None:
    source = """
SECOND_LLC = '''
name = "passes"
[vm]
topology = "1n2l2c1t"
[scheduler]
kernel_default = true
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "a"
cpuset = { llc = 1 }
works = [{ type = "SpinWait", workers = 2 }]
'''
@pytest.mark.ktstr(SECOND_LLC, presets=["1n1l2c1t", "1n2l1c1t"])
def test_offered(ktstr): pass
"""
    result = project(source, "-rs")
    assert result.parseoutcomes() == {"passed": 1, "skipped": 1}
    result.stdout.fnmatch_lines(["SKIPPED [[]1[]] test_it.py:*: not on topology 1n1l2c1t: *"])
    assert project(source, "--ktstr-topology=1n1l2c1t").parseoutcomes() == {"skipped": 1}
    forbidden = project(source, "--ktstr-topology=1n1l2c1t", "--ktstr-no-skip")
    assert forbidden.parseoutcomes() == {"failed": 1}
    # What the test itself names is no offer: its run is made, and tells what is wrong.
    own = source.replace('presets=["1n1l2c1t", "1n2l1c1t"]', 'topology="1n1l2c1t"')
    assert project(own).parseoutcomes() == {"passed": 1}


def test_what_a_scenario_says_of_topologies_holds_for_those_it_is_offered(
    project: Project, pytester: pytest.Pytester
) -> None:
    source = """
import pathlib
FEW = pathlib.Path("passes.toml").read_text() + \\
    '[gauntlet]\\nmax_cpus = 4\\nexclude = ["tiny-2llc"]\\n'

@pytest.mark.ktstr(FEW, presets=["1n1l8c1t", "tiny-2llc", "1n1l4c1t", "2n2l1c1t"])
def test_few(ktstr): pass

@pytest.mark.ktstr(FEW, topology="1n1l8c1t")
def test_own(ktstr): pass
"""
    result = project(source, "-rs")
    assert result.parseoutcomes() == {"passed": 3, "skipped": 2}
    result.stdout.fnmatch_lines(["SKIPPED*not on topology 1n1l8c1t: max_cpus = 4, it has 8"])
    result.stdout.fnmatch_lines(["SKIPPED*not on topology tiny-2llc: excluded by name"])


def test_a_larger_topology_that_is_offered_gets_a_gauntlets_memory(
    project: Project, pytester: pytest.Pytester
) -> None:
    small = text("passes").replace("[vm]\n", '[vm]\nmemory = "300M"\n')
    (pytester.path / "small.toml").write_text(small)
    project(
        '@pytest.mark.ktstr("small.toml", presets=["1n1l2c1t", "1n1l8c1t"])\ndef test_it(): pass\n'
    )
    # 64 MiB for each CPU, as the reference has it, and never less than the file's own.
    assert [each["memory_mib"] for each in made(pytester.path)] == [None, 512]


def test_the_ini_file_has_options_of_the_same_names(
    project: Project, pytester: pytest.Pytester
) -> None:
    source = '@pytest.mark.ktstr("passes.toml")\ndef test_it(): pass\n'
    ini = "ktstr_kernel = debian:7\nktstr_topology = tiny-1llc tiny-2llc\nktstr_out = results"
    assert project(source, ini=ini).parseoutcomes() == {"passed": 2}
    assert (pytester.path / "results" / "made.jsonl").is_file()
    skip = '@pytest.mark.ktstr("skips.toml")\ndef test_it(): pass\n'
    assert project(skip, ini="ktstr_no_skip = true").parseoutcomes() == {"failed": 1}
    assert project(skip, "--ktstr-jobs=0").ret == pytest.ExitCode.USAGE_ERROR


def test_the_last_line_counts_the_runs_also_those_of_workers(project: Project) -> None:
    source = '@pytest.mark.ktstr("passes.toml", repeat=3)\ndef test_it(): pass\n'
    line = "ktstr: 3 runs, 2 of cloned guests, 3.8 s in guests"
    assert line in project(source).outlines
    assert not any(each.startswith("ktstr: ") for each in project("def test_it(): pass").outlines)


def test_async_tests_and_a_loop_that_runs_are_no_hindrance(project: Project) -> None:
    source = """
import anyio
import ktstr.pytest_plugin as plugin
from tests.unit.pytest_plugin.project import fake_run

async def pretend(path, options, emit):
    await anyio.sleep(0)
    return fake_run(plugin.RunRequest(path, options, "", 0, emit))

@pytest.fixture
def anyio_backend(): return "asyncio"

@pytest.mark.anyio
@pytest.mark.ktstr("passes.toml")
async def test_it(ktstr):
    await anyio.sleep(0)
    assert ktstr("passes.toml").passed
    assert plugin.run_blocking(pretend, ktstr.run.request).verdict == "pass"
"""
    assert project(source).parseoutcomes() == {"passed": 1}


def test_a_start_of_pytest_imports_none_of_what_runs_need(tmp_path: Path) -> None:
    code = """
import sys, pytest
assert pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:randomly"]) == 5
heavy = {"ktstr.session", "ktstr.model", "ktstr.verdict", "pydantic", "numpy", "drgn", "structlog"}
print(sorted(heavy & sys.modules.keys()), "ktstr.pytest_plugin.plugin" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[] True"
