# SPDX-License-Identifier: GPL-2.0-only
"""Addresses, TLS, and what has to be the same on both sides."""

from pathlib import Path

import pytest

from ktstr.errors import CannotRun
from ktstr.fleet.security import Tls, address, check_exposure, is_loopback
from ktstr.fleet.versions import difference, source_digest, versions

TLS = Tls(Path("ca"), Path("cert"), Path("key"))


@pytest.mark.parametrize(
    ("text", "tls", "found"),
    [
        ("tcp://a:1", None, "tcp://a:1"),
        ("a:1", None, "tcp://a:1"),
        ("a", None, "tcp://a:8786"),
        ("a", TLS, "tls://a:8786"),
        ("[::1]", None, "tcp://[::1]:8786"),
        ("tcp://[::1]:9", None, "tcp://[::1]:9"),
    ],
)
def test_an_address_is_completed(text: str, tls: Tls | None, found: str) -> None:
    assert address(text, tls) == found


@pytest.mark.parametrize(
    ("text", "tls", "why"),
    [
        ("tcp://a:1", TLS, "asks for tcp, and .* were given"),
        ("tls://a:1", None, "asks for tls, and .* were not given"),
        ("ucx://a:1", None, "is reached by tcp:// or tls://"),
        ("a:x", None, "no address"),
        ("a:0", None, "no address"),
        ("a:99999", None, "no address"),
        ("", None, "no address"),
    ],
)
def test_an_address_that_is_none_is_refused(text: str, tls: Tls | None, why: str) -> None:
    with pytest.raises(CannotRun, match=why):
        address(text, tls)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    check_exposure(host, None, insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_what_others_can_reach_needs_tls_or_a_word(host: str) -> None:
    with pytest.raises(CannotRun, match="others could reach it"):
        check_exposure(host, None, insecure=False)
    check_exposure(host, TLS, insecure=False)
    check_exposure(host, None, insecure=True)


def test_the_three_files_go_together(tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    pem.touch()
    assert Tls.of(None, None, None) is None
    assert Tls.of(pem, pem, pem) == Tls(pem, pem, pem)
    with pytest.raises(CannotRun, match="go together"):
        Tls.of(pem, pem, None)
    with pytest.raises(CannotRun, match="cannot be read"):
        Tls.of(pem, pem, tmp_path / "none")


def test_ktstr_and_python_have_to_be_the_same_and_dask_not() -> None:
    here = versions()
    assert here["ktstr"].endswith(f"({source_digest()})")
    assert difference(here, {**here, "distributed": "1.0"}) == ""
    assert difference(here, {**here, "python": "3.0"}) == (
        f"it has python 3.0, here is {here['python']}"
    )
    assert difference(here, {}) == (
        f"it has ktstr unknown, here is {here['ktstr']}; "
        f"it has python unknown, here is {here['python']}"
    )
