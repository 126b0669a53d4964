# SPDX-License-Identifier: GPL-2.0-only
"""The guest's scheduler object and loader, built as the image build does, without a VM."""

import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import msgpack
import pytest

from ktstr.errors import HostUnfit
from ktstr.kernels.sysroot import libbpf_sysroot

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SCHED = ROOT / "guest" / "sched"
C_FLAGS = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", f"-I{SCHED}"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@dataclass(frozen=True, slots=True)
class Built:
    folder: Path
    sysroot: Path

    @property
    def loader(self) -> Path:
        return self.folder / "scx_load"

    @property
    def scheduler(self) -> Path:
        return self.folder / "scx_ktstr.bpf.o"


@dataclass(frozen=True, slots=True)
class Loaded:
    code: int
    messages: list[dict[str, Any]]
    stderr: str


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The build results; KTSTR_SYSROOT spares looking for (or fetching) libbpf."""
    given = os.environ.get("KTSTR_SYSROOT")
    try:
        sysroot = Path(given) if given else anyio.run(libbpf_sysroot)
    except HostUnfit as error:
        pytest.skip(f"no libbpf to build with: {error}")
    out = tmp_path_factory.mktemp("sched")
    make = ["make", "-s", "-f", "guest/sched/sched.mk", f"OUT={out}", f"SYSROOT={sysroot}"]
    subprocess.run(make, cwd=ROOT, check=True)
    return Built(out, sysroot)


@pytest.fixture(scope="session")
def sample(built: Built) -> Callable[[str], Path]:
    """``sample("ONE_OPS")`` compiles sample.bpf.c with that macro defined."""

    def compile_one(macro: str) -> Path:
        out = built.folder / f"sample-{macro}.bpf.o"
        include = [
            f"-I{SCHED}",
            f"-I{built.sysroot}/usr/include",
            "-I/usr/include/x86_64-linux-gnu",
        ]
        subprocess.run(
            ["clang-19", "-target", "bpf", "-mcpu=v3", "-O2", "-g", f"-D{macro}", *include,
             "-c", HERE / "sample.bpf.c", "-o", out],
            check=True,
        )  # fmt: skip
        return out

    return compile_one


@pytest.fixture(scope="session")
def probe(built: Built) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``probe(object, "NAME=VALUE", …)`` prints maps and globals after those settings."""
    binary = built.folder / "object_probe"
    archive = built.sysroot / "usr/lib/x86_64-linux-gnu/libbpf.a"
    subprocess.run(
        ["gcc", *C_FLAGS, f"-I{built.sysroot}/usr/include", HERE / "object_probe.c",
         SCHED / "globals.c", archive, "-lelf", "-lz", "-o", binary],
        check=True,
    )  # fmt: skip

    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([binary, *args], capture_output=True, text=True, timeout=20)

    return run


@pytest.fixture
def load(built: Built) -> Callable[..., Loaded]:
    """Run the loader to its end with descriptor 3 as a pipe.

    Only for command lines it refuses: on a host that has sched_ext and root anything else
    would change the host's scheduler.
    """

    def run(*args: str | Path) -> Loaded:
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as stream:
            try:
                done = subprocess.run(
                    ["bash", "-c", f'exec 3>&{writer}; exec "$0" "$@"', built.loader, *args],
                    capture_output=True,
                    text=True,
                    timeout=20,
                    pass_fds=[writer],
                )
            finally:
                os.close(writer)
            raw = stream.read()
        messages = []
        while raw:
            (size,) = struct.unpack_from("<I", raw)
            assert 4 + size <= len(raw), "the length prefix covers exactly what follows"
            messages.append(msgpack.unpackb(raw[4 : 4 + size]))
            raw = raw[4 + size :]
        return Loaded(done.returncode, messages, done.stderr)

    return run


class Client:
    """A stats client that reads whole lines, with a deadline."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        # Connected before there is a timeout: with one, a full backlog is an error at once.
        self.sock.connect(path)
        self.sock.settimeout(10)
        self.lines = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        return self.lines.readline()

    def close(self) -> None:
        self.lines.close()
        self.sock.close()


@pytest.fixture(scope="session")
def stats_shim(built: Built) -> Path:
    """A server with the loader's own protocol code, under the sanitizers, and fixed numbers."""
    binary = built.folder / "stats_shim"
    sources = [HERE / "stats_shim.c", SCHED / "stats_server.c", SCHED / "json_in.c"]
    subprocess.run(["gcc", *C_FLAGS, *SANITIZE, *sources, "-o", binary], check=True)
    return binary


@contextmanager
def serving(binary: Path, folder: Path, seconds_per_second: int) -> Iterator[str]:
    path = str(folder / "deep" / "er" / "stats")
    command = [str(binary), path, str(seconds_per_second)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert server.stdout and server.stdout.readline() == b"ready\n"
        yield path
    finally:
        server.communicate(timeout=20)
    assert server.returncode == 0, "the sanitizers or the protocol code ended the server"
    assert not os.path.exists(path), "the server leaves its socket behind"


@pytest.fixture(scope="session")
def stats_socket(stats_shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose clock stands still: no deadline ever passes."""
    with serving(stats_shim, tmp_path_factory.mktemp("stats"), 0) as path:
        yield path


@pytest.fixture
def hasty_socket(stats_shim: Path, tmp_path: Path) -> Iterator[str]:
    """A server whose clock runs a thousand times too fast."""
    with serving(stats_shim, tmp_path, 1000) as path:
        yield path


@pytest.fixture
def client(stats_socket: str) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def connect(path: str = stats_socket) -> Client:
        made.append(Client(path))
        return made[-1]

    yield connect
    for one in made:
        one.close()
