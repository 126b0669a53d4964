# SPDX-License-Identifier: GPL-2.0-only
"""Which Debian kernel a version prefix means."""

import pytest

from ktstr.kernels.apt import PackageVersion
from ktstr.kernels.debian import (
    Wanted,
    available,
    choose,
    describe_choices,
    is_version,
    means,
    numbers,
    parse,
)

MB = 1_000_000
INDEX = [
    PackageVersion("linux-base-7.2.13+deb14-cloud-amd64", "7.2.13-1", "sid", 400_000),
    PackageVersion("linux-binary-7.2.13+deb14-cloud-amd64", "7.2.13-1", "sid", 13 * MB),
    PackageVersion("linux-binary-unsigned-7.2.13+deb14-cloud-amd64", "7.2.13-1", "sid", 13 * MB),
    PackageVersion("linux-image-7.2.13+deb14-cloud-amd64", "7.2.13-1", "sid", 1916),
    PackageVersion("linux-binary-6.19.14+deb13-cloud-amd64", "1", "trixie-backports", 13 * MB),
    PackageVersion("linux-binary-7.2.9+deb13-cloud-amd64", "1", "trixie-backports", 13 * MB),
    PackageVersion("linux-binary-7.2.12+deb13-cloud-amd64", "1", "trixie-backports", 13 * MB),
    PackageVersion("linux-binary-unsigned-7.3.4+deb13-cloud-amd64", "1", "sid", 13 * MB),
    PackageVersion("linux-image-6.12.95+deb12-cloud-amd64", "1", "bookworm-backports", 33 * MB),
    PackageVersion("linux-image-6.12.9+deb12-cloud-amd64", "1", "bookworm-backports", 33 * MB),
    PackageVersion("linux-image-7.8.0+deb14-cloud-amd64", "7.8.0-1", "sid", 1916),
    PackageVersion("linux-headers-9.9.9-cloud-amd64", "1", "sid", 33 * MB),
]


def parsed(text: str) -> Wanted:
    wanted = parse(text)
    assert wanted is not None
    return wanted


def releases(wanted: str) -> list[str]:
    return [kernel.release for kernel in choose(parsed(wanted), available(INDEX))]


def test_signed_before_unsigned_and_newest_first() -> None:
    assert [k.release for k in available(INDEX)] == [
        "7.2.13+deb14-cloud-amd64",
        "7.2.12+deb13-cloud-amd64",
        "7.2.9+deb13-cloud-amd64",
        "6.19.14+deb13-cloud-amd64",
        "6.12.95+deb12-cloud-amd64",
        "6.12.9+deb12-cloud-amd64",
        "7.3.4+deb13-cloud-amd64",
    ]


def test_meta_packages_are_not_kernels_and_base_is_attached() -> None:
    first = available(INDEX)[0]
    assert first.package.name == "linux-binary-7.2.13+deb14-cloud-amd64"
    assert first.base is not None and first.base.name == "linux-base-7.2.13+deb14-cloud-amd64"
    assert available(INDEX)[1].base is None


def test_one_candidate_of_each_suite() -> None:
    assert releases("7") == ["7.2.13+deb14-cloud-amd64", "7.2.12+deb13-cloud-amd64"]


def test_unsigned_is_taken_when_nothing_else_matches() -> None:
    assert releases("7.3") == ["7.3.4+deb13-cloud-amd64"]


def test_exact_versions_and_whole_releases() -> None:
    assert releases("7.2.9") == ["7.2.9+deb13-cloud-amd64"]
    assert releases("6.12.9+deb12-cloud-amd64") == ["6.12.9+deb12-cloud-amd64"]
    assert releases("6.1") == []
    assert releases("8") == []


@pytest.mark.parametrize(
    ("wanted", "release", "expected"),
    [
        ("7", "7.2.13+deb14-cloud-amd64", True),
        ("7.2", "7.2.13+deb14-cloud-amd64", True),
        ("7.2.1", "7.2.13+deb14-cloud-amd64", False),
        ("6.1", "6.12.95+deb12-cloud-amd64", False),
        ("6.12.95.1", "6.12.95+deb12-cloud-amd64", False),
        ("", "7.2.13", False),
    ],
)
def test_prefixes_go_by_whole_components(wanted: str, release: str, expected: bool) -> None:
    assert means(wanted, release) is expected


def test_closest_and_series() -> None:
    kernels = available(INDEX)
    listed = "; the newest of each series: 7.3.4, 7.2.13, 6.19.14, 6.12.95"
    assert describe_choices(Wanted("9"), kernels) == "closest: 7.3.4" + listed
    assert describe_choices(Wanted("7.2.11"), kernels) == "closest: 7.2.9" + listed
    assert describe_choices(Wanted("6.1"), kernels) == "closest: 6.12.9" + listed
    assert (
        describe_choices(Wanted("7"), [])
        == "the package index has no prebuilt cloud-amd64 kernel at all"
    )


def test_what_is_a_version() -> None:
    assert all(map(is_version, ["7", "6.19", "7.1.13", "7.1.13+deb13-cloud-amd64"]))
    assert not any(map(is_version, ["", "x", "7.", "7.1-rc", "../7", "7 "]))
    assert numbers("6.19.14+deb13") == (6, 19, 14)


FLAVOURED = [
    *INDEX,
    PackageVersion("linux-binary-7.2.13+deb14-amd64", "7.2.13-1", "sid", 13 * MB),
    PackageVersion("linux-modules-7.2.13+deb14-amd64", "7.2.13-1", "sid", 100 * MB),
    PackageVersion("linux-image-6.12.95+deb12-amd64", "1", "bookworm-backports", 100 * MB),
    PackageVersion("linux-image-6.12.96+deb12-rt-amd64", "1", "bookworm-backports", 100 * MB),
]


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("7", "7.2.13+deb14-cloud-amd64"),
        ("7/cloud-amd64", "7.2.13+deb14-cloud-amd64"),
        ("7/amd64", "7.2.13+deb14-amd64"),
        ("7.2.13+deb14-amd64", "7.2.13+deb14-amd64"),
        ("6.12/amd64", "6.12.95+deb12-amd64"),
        ("6/rt-amd64", "6.12.96+deb12-rt-amd64"),
    ],
)
def test_flavours(text: str, release: str) -> None:
    assert choose(parsed(text), available(FLAVOURED))[0].release == release


def test_modules_may_be_a_package_of_their_own() -> None:
    split, whole = (choose(parsed(t), available(FLAVOURED))[0] for t in ("7/amd64", "6.12/amd64"))
    assert split.modules is not None
    assert split.modules.name == "linux-modules-7.2.13+deb14-amd64"
    assert whole.modules is None


@pytest.mark.parametrize("text", ["7/", "7/arm64", "/amd64", "7/amd64/x", "x/amd64"])
def test_no_such_flavour(text: str) -> None:
    assert parse(text) is None
