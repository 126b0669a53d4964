# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr fleet`` and ``ktstr gauntlet --cluster`` refuse what would be unsafe or unclear."""

import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ktstr.cli.fleet import fleet
from ktstr.cli.gauntlet import gauntlet
from ktstr.fleet import join


def ran(command: click.Command, *words: str) -> Result:
    return CliRunner().invoke(command, words)


def test_a_scheduler_that_strangers_could_use_is_not_started() -> None:
    found = ran(fleet, "scheduler", "--host", "0.0.0.0", "--port", "0")
    assert found.exit_code == 4
    assert "error: at 0.0.0.0 others could reach it" in found.output
    assert "--insecure where the network is yours" in found.output


def test_a_worker_that_strangers_could_use_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str | None] = []

    async def serve(address: str, offer: join.Offer, tls: object, say: object) -> None:
        begun.append(offer.host)

    monkeypatch.setattr(join, "serve", serve)
    found = ran(fleet, "worker", "--cluster", "127.0.0.1:1", "--host", "0.0.0.0")
    assert found.exit_code == 4 and begun == []
    assert "error: at 0.0.0.0 others could reach it" in found.output
    for words in (("--host", "0.0.0.0", "--insecure"), ("--host", "127.0.0.1"), ()):
        assert ran(fleet, "worker", "--cluster", "127.0.0.1:1", *words).exit_code == 0
    assert begun == ["0.0.0.0", "127.0.0.1", None]


def test_a_worker_says_what_is_no_address(tmp_path: Path) -> None:
    found = ran(fleet, "worker", "--cluster", "ucx://a:1")
    assert found.exit_code == 4 and "is reached by tcp:// or tls://" in found.output
    found = ran(fleet, "worker", "--cluster", "tls://a:1")
    assert found.exit_code == 4 and "tls:// and the three files go together" in found.output
    found = ran(fleet, "worker", "--cluster", "a:1", "--tls-ca", str(tmp_path / "none"))
    assert found.exit_code == 4 and "go together" in found.output


@pytest.mark.parametrize("words", [("--artifacts", "memory://x"), ("--tls-ca", "ca.pem")])
def test_what_belongs_to_a_cluster_needs_one(words: tuple[str, str]) -> None:
    found = ran(gauntlet, "--scenarios", "cgroup_steady", *words)
    assert found.exit_code == 4 and "go with --cluster" in found.output


def test_an_address_for_artifacts_is_looked_at_before_anything_else() -> None:
    words = ("--cluster", "tcp://127.0.0.1:1", "--artifacts", "nonsense://x")
    found = ran(gauntlet, "--scenarios", "cgroup_steady", *words)
    assert found.exit_code == 4 and "error: --artifacts nonsense://x: " in found.output


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    found = ran(fleet, "scheduler", "--port", "0")
    assert found.exit_code == 4 and "pip install 'ktstr[fleet]'" in found.output


def test_a_scheduler_ends_with_a_signal_as_it_is_meant_to() -> None:
    command = [sys.executable, "-W", "error", "-m", "ktstr.cli.main", "fleet", "scheduler"]
    with subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("scheduler at tcp://127.0.0.1:")
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(30) == 0
