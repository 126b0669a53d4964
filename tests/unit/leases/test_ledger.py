# SPDX-License-Identifier: GPL-2.0-only
"""The ledger that all runs of a host share."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ktstr.leases.fit import Want
from ktstr.leases.host import Host
from ktstr.leases.ledger import Ledger, in_words, shared_ledger

FOUR = Host({0: 0, 1: 0, 2: 0, 3: 0}, memory_mib=1000)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "leases", FOUR)


def test_what_one_has_another_waits_for(ledger: Ledger) -> None:
    first = ledger.ask(Want(3), "first")
    second = ledger.ask(Want(2), "second")
    assert first.cpus == frozenset({0, 1, 2})
    assert not ledger.try_again(second)
    assert in_words(ledger.in_the_way(second)).endswith("(first)")
    memory = ledger.ask(Want(memory_mib=1), "memory")
    assert [entry.what for entry in ledger.in_the_way(second)] == ["first"]
    first.close()
    assert ledger.try_again(second)
    assert second.cpus == frozenset({0, 1})
    second.close()
    memory.close()


def test_nobody_overtakes_who_waits_for_the_same(ledger: Ledger) -> None:
    first = ledger.ask(Want(3), "first")
    large = ledger.ask(Want(4), "large")
    small = ledger.ask(Want(1), "small")
    assert not ledger.try_again(small)
    # Memory is another queue.
    memory = ledger.ask(Want(memory_mib=10), "memory")
    assert memory.cpus == frozenset()
    large.close()
    assert ledger.try_again(small)
    assert small.cpus == frozenset({3})
    for lease in (first, small, memory):
        lease.close()


def test_giving_back_twice_is_giving_back_once(ledger: Ledger) -> None:
    lease = ledger.ask(Want(1), "once")
    lease.close()
    other = ledger.ask(Want(4), "other")
    lease.close()
    assert [entry.what for entry in ledger.entries()] == ["other"]
    other.close()
    assert ledger.entries() == []


def test_a_process_that_was_killed_holds_nothing(ledger: Ledger) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from ktstr.leases.fit import Want\n"
        "from ktstr.leases.host import Host\n"
        "from ktstr.leases.ledger import Ledger\n"
        "host = Host({0: 0, 1: 0, 2: 0, 3: 0}, 1000)\n"
        "lease = Ledger(Path(sys.argv[1]), host).ask(Want(4, 500), 'doomed')\n"
        "print(sorted(lease.cpus), flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(ledger.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[0, 1, 2, 3]\n"
        mine = ledger.ask(Want(1), "mine")
        assert mine.cpus is None
        (doomed, _) = ledger.entries()
        assert (doomed.held.pid, doomed.held.memory_mib) == (process.pid, 500)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert ledger.try_again(mine)
    # Its file went with the first look.
    assert len(list(ledger.folder.glob("*.lease"))) == 1
    mine.close()


def test_processes_of_one_crowd_share_cpus_and_others_do_not(ledger: Ledger) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from ktstr.leases.fit import Want\n"
        "from ktstr.leases.host import Host\n"
        "from ktstr.leases.ledger import Ledger\n"
        "host = Host({0: 0, 1: 0, 2: 0, 3: 0}, 1000)\n"
        "want = Want(4, crowded=True, crowd=int(sys.argv[2]))\n"
        "lease = Ledger(Path(sys.argv[1]), host).ask(want, 'runner')\n"
        "print(sorted(lease.cpus), flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(ledger.folder), "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[0, 1, 2, 3]\n"
        other = ledger.ask(Want(4, crowded=True, crowd=8), "of another daemon")
        assert other.cpus is None
        other.close()
        same = ledger.ask(Want(4, crowded=True, crowd=7), "of the same")
        assert same.cpus == frozenset({0, 1, 2, 3})
        same.close()
        process.kill()


def test_many_at_once_never_share_a_cpu(tmp_path: Path) -> None:
    folder, users = tmp_path / "leases", [0, 0, 0, 0]
    clashes: list[int] = []
    guard = threading.Lock()

    def work() -> None:
        own = Ledger(folder, FOUR)
        for _ in range(25):
            lease = own.ask(Want(2), "worker")
            while not own.try_again(lease):
                pass
            with guard:
                for cpu in lease.cpus or ():
                    users[cpu] += 1
                clashes.extend(count for count in users if count > 1)
            with guard:
                for cpu in lease.cpus or ():
                    users[cpu] -= 1
            lease.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
    assert list(folder.glob("*.lease")) == []


def test_what_is_no_entry_is_in_nobodys_way(ledger: Ledger) -> None:
    mine = ledger.ask(Want(1), "mine")
    texts = ["", "{", "[]", '{"pid": -1}', '{"pid": 1, "cpus": ["x"]}', "[" * 100_000, "\0" * 99]
    files = []
    for number, text in enumerate(texts):
        file = (ledger.folder / f"{number}.lease").open("w")
        file.write(text)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        files.append(file)
    (ledger.folder / "link.lease").symlink_to("/etc/passwd")
    second = ledger.ask(Want(3), "second")
    assert second.cpus == frozenset({1, 2, 3})
    for file in files:
        file.close()
    mine.close()
    second.close()


@pytest.mark.timeout(20)
def test_a_pipe_among_the_leases_holds_nobody_up(ledger: Ledger) -> None:
    ledger.folder.mkdir()
    os.mkfifo(ledger.folder / "0.lease")
    mine = ledger.ask(Want(4), "mine")
    assert mine.cpus == frozenset({0, 1, 2, 3})
    mine.close()


@pytest.mark.timeout(20)
def test_who_stops_within_the_ledger_is_not_waited_for_without_end(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktstr.leases.ledger.TURNSTILE_DEADLINE_S", 0.05)
    ledger.folder.mkdir()
    with (ledger.folder / "ledger.lock").open("w") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another process has locked"):
            ledger.ask(Want(1), "mine")
    assert list(ledger.folder.glob("*.lease")) == []
    ledger.ask(Want(1), "mine").close()


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Ledger(tmp_path / "file" / "leases", FOUR).ask(Want(1), "mine")


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTSTR_LEASES", str(tmp_path))
    ledger = shared_ledger()
    assert ledger is not None
    assert ledger.folder == tmp_path
    monkeypatch.setenv("KTSTR_LEASES", "off")
    assert shared_ledger() is None
