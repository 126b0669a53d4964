# SPDX-License-Identifier: GPL-2.0-only
"""The loader's refusals: exit status 2, one error message on descriptor 3, the reason on stderr."""

import errno

import pytest


def only_error(done):
    assert done.code == 2
    (message,) = done.messages
    assert set(message) == {"event", "stage", "errno", "message"}
    assert message["event"] == "error"
    assert message["message"].splitlines()[0] in done.stderr
    return message


def test_a_missing_object(load, tmp_path):
    error = only_error(load(tmp_path / "none.bpf.o"))
    assert (error["stage"], error["errno"]) == ("open", errno.ENOENT)
    assert "none.bpf.o" in error["message"]


def test_an_object_that_is_not_one(load, tmp_path):
    path = tmp_path / "text.bpf.o"
    path.write_bytes(b"not an ELF file")
    assert only_error(load(path))["stage"] == "open"


@pytest.mark.parametrize(("macro", "count"), [("NO_OPS", 0), ("TWO_OPS", 2)])
def test_exactly_one_scheduler_per_object(load, sample, macro, count):
    error = only_error(load(sample(macro)))
    assert error["stage"] == "open"
    assert f"{count} struct_ops maps" in error["message"]


def test_a_flavoured_ops_type_is_found(load, sample):
    # Refused only at the next stage.
    assert only_error(load("--set", "nothing=1", sample("FLAVOURED")))["stage"] == "set"


def test_an_unknown_global_names_the_known_ones(load, built):
    error = only_error(load("--set", "stahl=1", built.scheduler))
    assert (error["stage"], error["errno"]) == ("set", errno.ENOENT)
    assert {"stall", "slow_cpu", "fail_init"} <= set(error["message"].split())


def test_a_value_out_of_range(load, built):
    error = only_error(load("--set", "stall=1", "--set", "slow_cpu=2147483648", built.scheduler))
    assert (error["stage"], error["errno"]) == ("set", errno.ERANGE)
    assert "from -2147483648 to 2147483647" in error["message"]


@pytest.mark.parametrize("value", ["0", "30001", "x", "", "1s", "99999999999999999999"])
def test_a_watchdog_timeout_the_kernel_would_refuse(load, built, value):
    error = only_error(load("--timeout-ms", value, built.scheduler))
    assert error["stage"] == "set"
    assert "give 1 to 30000" in error["message"]


def test_a_watchdog_timeout_for_ops_without_one(load, sample):
    error = only_error(load("--timeout-ms", "2000", sample("FLAVOURED")))
    assert "has no timeout_ms" in error["message"]


@pytest.mark.parametrize(
    "args", [[], ["--nonsense"], ["--log-level", "3", "x"], ["a.o", "b.o"], ["--set"]]
)
def test_wrong_usage_shows_the_usage(load, args):
    done = load(*args)
    assert only_error(done)["errno"] == errno.EINVAL
    assert "usage: scx_load" in done.stderr
