# SPDX-License-Identifier: GPL-2.0-only
"""The entry point that pytest loads; imports nothing of ktstr before a test needs it."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ktstr.pytest_plugin import hooks
from ktstr.pytest_plugin.state import ADDED, KTSTR, SLOTS, TALLY, Tally

if TYPE_CHECKING:
    from ktstr.pytest_plugin.asked import Asked
    from ktstr.pytest_plugin.files import ScenarioFile
    from ktstr.pytest_plugin.fixture import Ktstr
    from ktstr.pytest_plugin.request import RunRequest
    from ktstr.session.record import RunRecord

FIXTURE = "ktstr"
MARKER = (
    "ktstr(scenario, *, topology, presets, kernel, kernels, scheduler, flags, work_type, clock, "
    "seed, repeat, timeout, check, expect_fail, allow_inconclusive): run a scenario in a VM; "
    "the fixture `ktstr` is the finished run"
)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make known which hooks there are."""
    pluginmanager.add_hookspecs(hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare command-line and ini options."""
    from ktstr.pytest_plugin.settings import add_options

    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and see whether the options can be."""
    from ktstr.pytest_plugin.settings import settings_of

    config.addinivalue_line("markers", MARKER)
    config.stash[TALLY] = Tally()
    settings_of(config)
    if hasattr(config, "workerinput"):
        given = config.workerinput.get("ktstr_slots")
        config.stash[SLOTS] = Path(given) if given else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give the workers of pytest-xdist one folder for the slots of ``--ktstr-jobs``."""
    from ktstr.pytest_plugin.settings import settings_of

    tally = node.config.stash[TALLY]
    if settings_of(node.config).jobs is None:
        return
    if tally.slots is None:
        import tempfile

        tally.slots = Path(tempfile.mkdtemp(prefix="ktstr-slots-"))
    node.workerinput["ktstr_slots"] = str(tally.slots)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that folder."""
    tally = config.stash.get(TALLY, None)
    if tally is not None and tally.slots is not None:
        import shutil

        shutil.rmtree(tally.slots, ignore_errors=True)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "ScenarioFile | None":
    """Take ``ktstr_*.toml`` as tests, and any scenario that the command line names."""
    if file_path.suffix != ".toml":
        return None
    from ktstr.pytest_plugin.files import ScenarioFile, is_scenario

    if not is_scenario(file_path, named=parent.session.isinitpath(file_path)):
        return None
    return ScenarioFile.from_parent(parent, path=file_path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test for each kernel and topology that a marker or the command line names."""
    asked = _asked(metafunc.definition)
    if asked is None and FIXTURE not in metafunc.fixturenames:
        return
    from ktstr.pytest_plugin.asked import Asked, variants
    from ktstr.pytest_plugin.settings import settings_of

    found = variants(asked or Asked(), settings_of(metafunc.config))
    if not found[0].id or not _is_ours(metafunc):
        return
    if FIXTURE not in metafunc.fixturenames:
        metafunc.fixturenames.append(FIXTURE)
    metafunc.parametrize(FIXTURE, found, ids=[variant.id for variant in found], indirect=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test with the marker has the runs made, also when it does not take the fixture."""
    if not isinstance(item, pytest.Function) or item.get_closest_marker(FIXTURE) is None:
        return
    if FIXTURE not in item.fixturenames:
        item.fixturenames = [*item.fixturenames, FIXTURE]
        item.stash[ADDED] = True


@pytest.fixture
def ktstr(request: pytest.FixtureRequest) -> "Iterator[Ktstr]":
    """The finished run of the scenario that the marker ``ktstr`` names; callable for more runs."""
    from ktstr.pytest_plugin.asked import Asked, variants
    from ktstr.pytest_plugin.reports import begin
    from ktstr.pytest_plugin.settings import settings_of

    node = request.node
    asked = _asked(node) or Asked()
    variant = getattr(request, "param", None) or variants(asked, settings_of(request.config))[0]
    found = begin(node, asked, variant, body_judges=not node.stash.get(ADDED, False))
    if asked.scenario is not None:
        found.start()
    yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Take the outcome of a test's runs before its body, and that of its claims after it."""
    found = item.stash.get(KTSTR, None)
    if found is None:
        return (yield)
    found.before_body()
    yield
    found.after_body()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what ktstr has to say into a test's report."""
    report = yield
    if (found := item.stash.get(KTSTR, None)) is not None:
        from ktstr.pytest_plugin.reports import tell

        tell(found, call, report)
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Say inconclusive, guest lost and cannot run where pytest says failed or error."""
    if "ktstr" not in report.__dict__:
        return None
    from ktstr.pytest_plugin.state import status

    return status(report.__dict__["ktstr"].get("word"), failed=report.failed)


@pytest.hookimpl(trylast=True)
def pytest_ktstr_run(request: "RunRequest") -> "RunRecord":
    """Make the run in this process."""
    from ktstr.pytest_plugin.execute import run_here

    return run_here(request)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say in one line what the session's runs come to."""
    tally = config.stash[TALLY]
    for reports in terminalreporter.stats.values():
        for report in reports:
            tally.add(getattr(report, "__dict__", {}).get("ktstr", {}).get("runs", ()))
    if tally.line():
        terminalreporter.write_line(tally.line())


def _asked(node: pytest.Item | Any) -> "Asked | None":
    """What the test's markers say; ``None`` without any."""
    marks = list(node.iter_markers(FIXTURE))
    if not marks:
        return None
    from ktstr.pytest_plugin.asked import BadMarker, asked_by

    try:
        return asked_by(marks)
    except BadMarker as error:
        pytest.fail(f"{node.nodeid}: the marker ktstr: {error}", pytrace=False)


def _is_ours(metafunc: pytest.Metafunc) -> bool:
    """Whether the test's fixture of that name is this one, and not the project's own."""
    found = getattr(metafunc, "_arg2fixturedefs", {}).get(FIXTURE)
    return not found or found[-1].func.__module__ == __name__
