# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr locks``."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ktstr.cli.locks import locks
from ktstr.kernels.locks import shared
from ktstr.leases.fit import Want
from ktstr.leases.ledger import shared_ledger
from ktstr.vm.template import TemplateStore


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTSTR_LEASES", str(tmp_path / "leases"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_who_holds_and_who_waits_is_told() -> None:
    ledger = shared_ledger()
    assert ledger is not None
    count = len(ledger.host.llc_of)
    first = ledger.ask(Want(count), "greedy\x1b[31m")
    second = ledger.ask(Want(1, exclusive_llc=True), "patient")
    text = CliRunner().invoke(locks).stdout
    assert f"{count} CPUs in" in text.splitlines()[0]
    assert "0 free" in text.splitlines()[0]
    assert "holds" in text.splitlines()[2]
    assert "\x1b" not in text
    assert "1 wanted (LLC alone)" in text.splitlines()[3]
    assert text.splitlines()[3].endswith("patient")
    document = json.loads(CliRunner().invoke(locks, ["--json"]).stdout)
    assert [lease["state"] for lease in document["leases"]] == ["holds", "waits"]
    assert document["leases"][0]["cpus"] == sorted(ledger.host.llc_of)
    first.close()
    second.close()
    assert json.loads(CliRunner().invoke(locks, ["--json"]).stdout)["leases"] == []


def test_templates_in_use_are_named() -> None:
    store = TemplateStore()
    with shared(store.root / "locks" / ("ab" * 32 + ".lock")):
        assert store.in_use() == ["ab" * 32]
        assert "templates in use: abababababab" in CliRunner().invoke(locks).stdout
    assert store.in_use() == []


def test_a_folder_that_cannot_be_read_is_an_error_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "ledger.lock").mkdir()
    monkeypatch.setenv("KTSTR_LEASES", str(folder))
    done = CliRunner().invoke(locks)
    assert done.exit_code == 4
    assert "KTSTR_LEASES" in done.stderr


def test_off_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTSTR_LEASES", "off")
    assert "heed nobody" in CliRunner().invoke(locks).stdout
