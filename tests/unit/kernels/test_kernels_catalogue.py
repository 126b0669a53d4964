# SPDX-License-Identifier: GPL-2.0-only
"""Kernels with a name: what each stands for, and which kernel in the cache it means."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ktstr.errors import KernelUnfit
from ktstr.kernels import CacheEntry, KernelCache, debian, resolve_kernel
from ktstr.kernels import catalogue as module
from ktstr.kernels.build.fragments import known_fragments
from ktstr.kernels.build.source import is_source_spec
from ktstr.kernels.catalogue import (
    NamedKernel,
    cached,
    catalogued,
    close_names,
    kernels_folder,
    may_be_kernel,
    named_kernels,
)
from ktstr.kernels.features import unknown_features


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts another catalogue in the place of the real one."""

    def put(text: str) -> None:
        (tmp_path / "catalogue.toml").write_text(text)
        monkeypatch.setattr(module, "kernels_folder", lambda: tmp_path)
        module.named_kernels.cache_clear()

    yield put
    module.named_kernels.cache_clear()


def test_every_row_means_something() -> None:
    """Each specification is of a kind there is, and asks for the fragments beside it."""
    assert named_kernels()
    for name, row in named_kernels().items():
        spec, *fragments = row.spec.split("+")
        if row.fragments:
            assert is_source_spec(spec), name
            assert ("base", *fragments) == row.fragments, name
            assert set(row.fragments) <= set(known_fragments()), name
        else:
            kind, _, version = row.spec.partition(":")
            assert kind == "debian" and debian.parse(version) is not None, name
        assert not set(row.has) & set(row.lacks), name


def test_the_file_is_beside_the_fragments() -> None:
    assert (kernels_folder() / "base.config").is_file()


def test_what_is_no_name_stands_for_itself() -> None:
    assert catalogued("stock-6.12") == "debian:6.12"
    for spec in ("debian:7", "host", "./vmlinux", "no-such-name", "path:stock-6.12"):
        assert catalogued(spec) == spec


async def test_a_name_in_place_of_a_specification(
    rows: Callable[[str], None], kernel_file: Callable[..., Path], tmp_path: Path
) -> None:
    rows(f'[mine]\nspec = "path:{kernel_file()}"\nnote = "a test"\n')
    cache = KernelCache(tmp_path / "kernels")
    kernel = await resolve_kernel("mine", cache=cache)
    assert (kernel.release, kernel.spec) == ("7.9.1+test-cloud-amd64", "mine")
    with pytest.raises(KernelUnfit, match="unknown kernel 'mine2'") as caught:
        await resolve_kernel("mine2", cache=cache)
    assert (caught.value.hint or "").startswith("did you mean mine? one of debian:VERSION")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[x]\nspec = "host"\n', "no spec or no note"),
        ('[x]\nspec = "host"\nnote = "n"\nhas = ["speed"]\n', "no feature 'speed'"),
        ('[x]\nspec = "host"\nnote = 3\n', r"x\.note"),
        ('[x]\nspec = "host"\nnote = "n"\nurl = "u"\n', r"x\.url"),
        ('["a:b"]\nspec = "host"\nnote = "n"\n', "'a:b' is no name"),
        ('["6.12"]\nspec = "host"\nnote = "n"\n', "'6.12' is no name"),
        ("x = 3\n", "'x' is no name"),
    ],
)
def test_mistakes_in_the_file(rows: Callable[[str], None], text: str, message: str) -> None:
    rows(text)
    with pytest.raises(ValueError, match=message):
        named_kernels()


def entry(release: str, made_at: float = 0.0, **origin: str) -> CacheEntry:
    features = unknown_features(release, "a test")
    return CacheEntry(release, Path(), release, "", origin, features, made_at, 0.0, 0)


def row(spec: str, *fragments: str) -> NamedKernel:
    return NamedKernel("n", spec, fragments, (), (), "a test")


SIGNED = entry("7.2.9+deb14-cloud-amd64", package="linux-binary-7.2.9+deb14-cloud-amd64")
UNSIGNED = entry("7.3.4+deb13-cloud-amd64", package="linux-binary-unsigned-7.3.4+deb13-cloud-amd64")
GENERIC = entry("7.2.9+deb14-amd64", package="linux-binary-7.2.9+deb14-amd64")
BASE = entry("6.12.95-ktstr", source="debian-source:6.12.95", fragments="base")
FAST = entry("6.12.95-ktstr-f", source="debian-source:6.12.95", fragments="base,fast")
GIT = entry("6.12.99-ktstr", source="git:/linux#v6.12", fragments="base")
ALL = [GIT, SIGNED, UNSIGNED, GENERIC, BASE, FAST]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (row("debian:7"), SIGNED),
        (row("debian:7.3"), UNSIGNED),
        (row("debian:7/amd64"), GENERIC),
        (row("debian:6.12"), None),
        (row("debian-source:6.12", "base"), BASE),
        (row("debian-source:6.12+fast", "base", "fast"), FAST),
        (row("debian-source:6.12+debug", "base", "debug"), None),
        (row("debian-source:6.1", "base"), None),
    ],
)
def test_which_of_the_cache_a_name_means(asked: NamedKernel, found: CacheEntry | None) -> None:
    """What Debian has signed goes before what is newer, as it does when one is fetched."""
    assert cached(asked, ALL) is found
    assert cached(asked, reversed(ALL)) is found


def test_forms(tmp_path: Path) -> None:
    assert all(map(may_be_kernel, ("host", "debian:99", "stock-6.12", str(tmp_path))))
    assert not any(map(may_be_kernel, ("stock-612", "", "6.12")))
    assert close_names("stock-612") == "did you mean stock-6.12? "
    assert close_names("zzz") == ""
