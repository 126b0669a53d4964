# SPDX-License-Identifier: GPL-2.0-only
"""--set NAME=VALUE: what it writes, and what it says when it will not."""

import pytest


def values(done):
    assert done.returncode == 0, done.stdout
    lines = (line.split(maxsplit=3) for line in done.stdout.splitlines())
    return {row[2]: (row[3] if len(row) > 3 else "") for row in lines if row[0] == "global"}


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("flag=true", "1"), ("flag=1", "1"), ("flag=false", "0"),
        ("tiny=-128", "-128"), ("tiny=127", "127"), ("tiny=0x7f", "127"), ("tiny=-0x80", "-128"),
        ("byte=255", "255"), ("small=-32768", "-32768"), ("small=32767", "32767"),
        ("wide=9223372036854775807", "9223372036854775807"), ("wide=0xffffffffffffffff", "-1"),
        ("deep=-9223372036854775808", "-9223372036854775808"),
        ("color=SAMPLE_BLUE", "7"), ("color=3", "3"), ("label=1234567", "1234567"), ("label=", ""),
    ],
)  # fmt: skip
def test_a_value_that_fits_is_written(probe, sample, setting, kept):
    # An unsigned 64-bit value is printed as signed: all ones is -1.
    before, name = values(probe(sample("ONE_OPS"))), setting.partition("=")[0]
    after = values(probe(sample("ONE_OPS"), setting))
    assert after[name] == kept
    assert {k: v for k, v in after.items() if k != name} == {
        k: v for k, v in before.items() if k != name
    }, "no neighbour may change"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("flag=2", "true, false, 0 or 1"), ("flag=yes", "true, false, 0 or 1"),
        ("tiny=128", "from -128 to 127"), ("tiny=-129", "from -128 to 127"),
        ("byte=256", "from 0 to 255"), ("byte=-1", "from 0 to 255"),
        ("byte= 1", "from 0 to 255"), ("byte=", "from 0 to 255"), ("byte=1x", "from 0 to 255"),
        ("byte=+1", "from 0 to 255"),
        ("small=32768", "from -32768 to 32767"),
        ("wide=18446744073709551616", "from 0 to 18446744073709551615"),
        ("deep=9223372036854775808", "from -9223372036854775808 to 9223372036854775807"),
        ("color=SAMPLE_GREEN", "or a name of its enum"),
        ("label=12345678", "at most 7 bytes of text, got 8"),
        ("pair=1", "neither an integer nor a text"),
        ("colour=1", "it has: "), ("=1", "NAME=VALUE"), ("byte", "NAME=VALUE"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_with_what_is_allowed(probe, sample, setting, said):
    done = probe(sample("ONE_OPS"), setting)
    assert done.returncode == 1
    assert f"--set {setting}: " in done.stdout
    assert said in done.stdout


def test_an_unknown_name_lists_the_settable_globals(probe, sample):
    listed = probe(sample("ONE_OPS"), "colour=1").stdout.partition("it has:")[2].split()
    assert sorted(listed) == sorted(
        ["flag", "tiny", "byte", "small", "wide", "deep", "color", "label"]
    )
