# SPDX-License-Identifier: GPL-2.0-only
"""What the outcome of a run makes of its test."""

import pytest
from tests.unit.pytest_plugin.project import Project, case_properties, cases, made

BODY = """
@pytest.mark.ktstr("{name}.toml"{more})
def test_it(ktstr):
    open("body", "w").close()
"""


@pytest.mark.parametrize(
    ("name", "more", "outcome", "body"),
    [
        ("passes", "", "passed", True),
        ("fails", "", "failed", False),
        ("skips", "", "skipped", False),
        ("inconclusive", "", "failed", False),
        ("inconclusive", ", allow_inconclusive=True", "skipped", False),
        ("fails", ", allow_inconclusive=True", "failed", False),
        ("lost", "", "errors", False),
        ("lost_early", "", "errors", False),
        ("cannot_run", "", "errors", False),
        ("invalid", "", "errors", False),
        ("lacks", "", "skipped", False),
        # Nothing was asked of the run, but the body takes it: that is who judges.
        ("unchecked", "", "passed", True),
        ("passes", ", expect_fail=True", "failed", False),
        ("fails", ", expect_fail=True", "passed", True),
        ("skips", ", expect_fail=True", "skipped", False),
        ("inconclusive", ", expect_fail=True", "failed", False),
        ("lost", ", expect_fail=True", "errors", False),
        ("fails", ", check=False", "passed", True),
        ("inconclusive", ", check=False", "passed", True),
        ("skips", ", check=False", "passed", True),
        ("lost", ", check=False", "passed", True),
        ("cannot_run", ", check=False", "errors", False),
    ],
)
def test_the_outcome_of_a_run_is_that_of_its_test(
    project: Project, pytester: pytest.Pytester, name: str, more: str, outcome: str, body: bool
) -> None:
    result = project(BODY.format(name=name, more=more))
    assert result.parseoutcomes() == {outcome: 1}
    assert result.ret == (1 if outcome in ("failed", "errors") else 0)
    assert (pytester.path / "body").exists() is body


@pytest.mark.parametrize("name", ["skips", "lacks"])
def test_where_nothing_may_be_skipped_a_skip_is_a_failure(project: Project, name: str) -> None:
    result = project(BODY.format(name=name, more=""), "--ktstr-no-skip")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["*skipped, which --ktstr-no-skip forbids: *"])


def test_an_allowed_doubt_stays_a_skip_where_nothing_may_be_skipped(project: Project) -> None:
    # The test itself allows it; --ktstr-no-skip is about scenarios that did not apply.
    source = BODY.format(name="inconclusive", more=", allow_inconclusive=True")
    assert project(source, "--ktstr-no-skip").parseoutcomes() == {"skipped": 1}


def test_a_scenario_without_checks_is_inconclusive_when_no_body_takes_it(project: Project) -> None:
    result = project('@pytest.mark.ktstr("unchecked.toml")\ndef test_it(): pass\n', "-v")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["*test_it INCONCLUSIVE*", "inconclusive: unchecked: *no check*"])


def test_a_failure_is_told_in_ktstrs_words_without_a_traceback(project: Project) -> None:
    result = project(BODY.format(name="fails", more=""))
    result.stdout.fnmatch_lines(
        [
            "fail: fails: [[]Benchmark[]] too slow by half",
            "  [[]Other[]] and another thing",
            "  on kernel 7.2.0-fake, topology 1n1l2c1t, scheduler scx_ktstr, accelerator tcg",
            "  evidence: *fails-1.evidence",
            "  record: *fails-1.ktstr.json",
            "* stats *",
            "* timeline *",
            "* the run *",
            "booted the pretended guest (0.1 s)",
            "a remark on the way",
            "note: the run's own remark",
            "* again *",
            "pytest test_it.py::test_it",
            "ktstr-run */fails.toml",
            "FAILED test_it.py::test_it - fail: fails: *",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "pytest_plugin/" not in result.stdout.str()


def test_a_doubt_and_a_lost_guest_have_their_own_words(project: Project) -> None:
    marks = "\n".join(
        f'@pytest.mark.ktstr("{name}.toml")\ndef test_{name}(): pass'
        for name in ("inconclusive", "lost", "cannot_run")
    )
    result = project(marks, "-v")
    result.stdout.fnmatch_lines(
        [
            "*::test_inconclusive INCONCLUSIVE*",
            "*::test_lost GUEST LOST*",
            "*::test_cannot_run CANNOT RUN*",
            "* ERROR at setup of test_lost *",
            "guest lost: lost: the guest kernel panicked: Oops",
            "    hint: read kernel.log",
            "  evidence: *lost-2.evidence",
            "* kernel log (end) *",
            "the kernel's last words",
            "* ERROR at setup of test_cannot_run *",
            "cannot run: no QEMU is here",
            "  hint: apt-get install qemu-system-x86",
        ]
    )
    assert result.parseoutcomes() == {"failed": 1, "errors": 2}


def test_a_skip_names_the_test_and_its_reason(project: Project) -> None:
    result = project(BODY.format(name="skips", more=""), "-rs")
    result.stdout.fnmatch_lines(["SKIPPED [[]1[]] test_it.py:*: skips: no second LLC here"])


def test_claims_are_settled_together_when_the_body_is_done(project: Project) -> None:
    result = project(
        """
@pytest.mark.ktstr("passes.toml")
def test_it(ktstr):
    ktstr.claim("migrations", ktstr.stats.total_migrations).at_most(6).because("all are pinned")
    ktstr.claim("gap", ktstr.stats.worst_gap_ms).at_most(20)
    ktstr.verdict.claim_set("cpus", {1, 2}).subset_of({1})
    print("the body went on")
"""
    )
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        [
            "fail: passes: [[]Other[]] migrations: expected at most 6, was 7 (all are pinned)",
            "  [[]Other[]] cpus: *",
            "the body went on",
        ]
    )
    assert "gap:" not in result.stdout.str()


@pytest.mark.parametrize(
    ("statement", "more", "outcome"),
    [
        ('ktstr.verdict.inconclusive("no sample")', "", "failed"),
        ('ktstr.verdict.inconclusive("no sample")', ", allow_inconclusive=True", "skipped"),
        ('ktstr.verdict.skip("no second LLC")', "", "skipped"),
        ('ktstr.claim("gap", 1).at_most(2)', "", "passed"),
        # What the scenario found is expected; what the body claims about it has to hold.
        ('ktstr.claim("gap", 3).at_most(2)', ", expect_fail=True", "failed"),
    ],
)
def test_what_the_body_says_of_a_run(
    project: Project, statement: str, more: str, outcome: str
) -> None:
    name = "fails" if "expect_fail" in more else "passes"
    source = f'@pytest.mark.ktstr("{name}.toml"{more})\ndef test_it(ktstr):\n    {statement}\n'
    assert project(source).parseoutcomes() == {outcome: 1}


def test_what_the_body_raises_goes_before_its_claims(project: Project) -> None:
    result = project(
        """
@pytest.mark.ktstr("passes.toml")
def test_it(ktstr):
    ktstr.claim("gap", 3).at_most(2)
    assert ktstr.metrics["iteration_rate"] > 1000
"""
    )
    result.stdout.fnmatch_lines(["E       assert 250.5 > 1000", "* stats *", "* again *"])


def test_repetitions_are_runs_of_their_own_and_the_worst_is_told(
    project: Project, pytester: pytest.Pytester
) -> None:
    source = """
@pytest.mark.ktstr("{name}.toml", repeat=3)
def test_it(ktstr):
    assert len(ktstr.runs) == 3
    assert [run.record.run_id for run in ktstr.runs] == ["id-1", "id-2", "id-3"]
    assert ktstr.record is ktstr.runs[-1].record
"""
    assert project(source.format(name="passes")).parseoutcomes() == {"passed": 1}
    assert [each["repetition"] for each in made(pytester.path)] == [1, 2, 3]
    (pytester.path / "ktstr-runs" / "made.jsonl").unlink()
    result = project(source.format(name="fails_second"))
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["fail: fails: *too slow*", "  1 of 3 runs did not pass"])


def test_a_refusal_is_not_repeated(project: Project, pytester: pytest.Pytester) -> None:
    project('@pytest.mark.ktstr("cannot_run.toml", repeat=3)\ndef test_it(ktstr): pass\n')
    assert len(made(pytester.path)) == 1


def test_junit_says_what_ran_on_what_and_every_metric(
    project: Project, pytester: pytest.Pytester
) -> None:
    marks = "\n".join(
        f'@pytest.mark.ktstr("{name}.toml", seed=5)\ndef test_{name}(ktstr): pass'
        for name in ("passes", "fails", "skips", "inconclusive", "lost")
    )
    project(marks, "--junit-xml=out.xml")
    found = cases(pytester.path / "out.xml")
    elements = {
        name: [child.tag for child in case if child.tag != "properties"]
        for name, case in found.items()
    }
    assert elements == {
        "test_passes": [],
        "test_fails": ["failure"],
        "test_skips": ["skipped"],
        "test_inconclusive": ["failure"],
        "test_lost": ["error"],
    }
    passes = case_properties(found["test_passes"])
    assert passes["verdict"] == "pass"
    assert passes["kernel"] == "7.2.0-fake"
    assert passes["topology"] == "1n1l2c1t"
    assert passes["scheduler"] == "scx_ktstr"
    assert passes["clock"] == "wall"
    assert passes["seed"] == "5"
    assert passes["sidecar"].endswith("passes-1.ktstr.json")
    assert float(passes["iteration_rate"]) == 250.5
    assert "evidence" not in passes
    lost = case_properties(found["test_lost"])
    assert (lost["verdict"], lost["evidence"].endswith("lost-5.evidence")) == ("guest lost", True)
    assert "iteration_rate" not in lost
    message = found["test_inconclusive"].find("failure")
    assert message is not None
    assert message.attrib["message"].startswith("inconclusive: inconclusive: ")
