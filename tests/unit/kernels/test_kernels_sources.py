# SPDX-License-Identifier: GPL-2.0-only
"""Private apt sources derived from the system's, in both formats."""

from pathlib import Path

import pytest

from ktstr.errors import HostUnfit
from ktstr.kernels.sources import (
    Source,
    debian_mirror,
    parse_deb822,
    parse_list,
    render_sources,
    system_sources,
)

DEB822 = """\
# a comment before
Types: deb deb-src
# a comment inside
URIs: https://mirror.example/debian https://second.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: https://src.example/debian
Suites: bookworm
Components: main
"""


def test_deb822() -> None:
    found = list(parse_deb822(DEB822))
    assert [s.uri for s in found] == [
        "https://mirror.example/debian",
        "https://second.example/debian",
    ]
    assert found[0].suites == ("bookworm", "bookworm-updates")
    assert found[0].components == ("main", "contrib")
    assert found[0].signed_by == "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_deb822_keeps_an_embedded_key() -> None:
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END-----\n"
    (source,) = parse_deb822(f"Types: deb\nURIs: http://a.example/debian\nSuites: sid\n{key}")
    assert key in render_sources(source)


def test_one_line_format() -> None:
    text = (
        "# deb http://commented.example/debian sid main\n"
        "deb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg] http://one.example/debian trixie main x\n"
        "deb-src http://src.example/debian trixie main\n"
        "deb http://two.example/debian sid main # a remark\n"
        "deb [trusted=yes] file:/srv/debian bookworm main\n"
        "deb [unclosed http://bad.example/debian sid main\n"
        "deb\n"
    )
    assert list(parse_list(text)) == [
        Source("http://one.example/debian", ("trixie",), ("main", "x"), "/k/a.gpg /k/b.gpg"),
        Source("http://two.example/debian", ("sid",), ("main",)),
        Source("file:/srv/debian", ("bookworm",), ("main",), trusted=True),
    ]


def _etc(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        folder = tmp_path if stem == "sources" and suffix == "list" else tmp_path / "sources.list.d"
        (folder / f"{stem}.{suffix}").write_text(text)
    return tmp_path


def test_the_mirror_is_debians_own_not_a_vendors(tmp_path: Path) -> None:
    etc = _etc(
        tmp_path,
        sources_list="deb http://vendor.example/debian bookworm main\n",
        docker_list="deb [signed-by=/k/docker.gpg] http://d.example/linux/debian bookworm stable\n",
        sec_list="deb http://m.example/debian-security bookworm-security main\n",
        debian_sources=DEB822,
        zz_disabled="deb http://never.example/debian sid main\n",
    )
    assert len(system_sources(etc)) == 5
    assert debian_mirror(etc).uri == "https://mirror.example/debian"


def test_first_of_equal_mirrors_wins(tmp_path: Path) -> None:
    etc = _etc(
        tmp_path,
        a_list="deb http://first.example/debian bookworm main\n",
        b_list="deb http://second.example/debian bookworm main\n",
    )
    assert debian_mirror(etc).uri == "http://first.example/debian"


def test_no_debian_mirror_says_what_to_do_instead(tmp_path: Path) -> None:
    etc = _etc(
        tmp_path,
        a_list="deb http://u.example/ubuntu noble main\ndeb cdrom:[Debian 12]/ bookworm main\n",
    )
    with pytest.raises(HostUnfit, match="none of the 2 apt sources") as caught:
        debian_mirror(etc)
    assert "path:FILE" in (caught.value.hint or "")


def test_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(HostUnfit, match="none of the 0 apt sources"):
        debian_mirror(tmp_path / "absent")


def test_rendering() -> None:
    source = Source("http://m.example/debian", ("bookworm",), ("main",), "/k/a.gpg", trusted=True)
    assert render_sources(source, ("sid", "x-backports")) == (
        "Types: deb\n"
        "URIs: http://m.example/debian\n"
        "Suites: sid x-backports\n"
        "Components: main\n"
        "Architectures: amd64\n"
        "Signed-By: /k/a.gpg\n"
        "Trusted: yes\n"
    )
