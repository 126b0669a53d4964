# SPDX-License-Identifier: GPL-2.0-only
"""The guest image: compiled parts, Python closure and scheduler, as one initramfs.

Two layers, both content-addressed: the *base* (init, agent, worker, loader, the built-in
schedulers) and an *overlay* per run with the user's scheduler and its libraries. cpio
archives may be concatenated, so an image is the two files one after the other.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

import ktstr
from ktstr.errors import GuestBuildFailed
from ktstr.kernels import Module
from ktstr.vm.closure import interpreter_identity, library_entries, python_entries
from ktstr.vm.cpio import Entry, write_cpio

FORMAT = "1"
LOCK_S = 600.0
KEEP_S = 86400.0
COMPILED = {
    "init": "init",
    "worker": "ktstr/bin/worker",
    "scx_load": "ktstr/bin/scx_load",
    "scx_probe": "ktstr/bin/scx_probe",
    "scx_snap": "ktstr/bin/scx_snap",
}
STOP_S = 5.0
"""How long the compiler may take to follow a signal."""
POLL_S = 0.2
Progress = Callable[[str, float | None], None]
Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Image:
    """An initramfs on disk; ``fresh`` tells whether it had to be made."""

    path: Path
    digest: str
    fresh: bool


def guest_sources() -> Path:
    """Folder of the guest's sources: the repository's, or the installed package's copy.

    :raise GuestBuildFailed: when neither is there.
    """
    package = Path(ktstr.__file__).parent
    for candidate in (package.parents[1] / "guest", package / "_guest"):
        if (candidate / "Makefile").is_file():
            return candidate
    raise GuestBuildFailed(
        "the guest's sources are neither beside the package nor inside it",
        hint="install ktstr from its repository or from a complete wheel",
    )


def _digest_of(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _source_files(folder_path: Path) -> list[Path]:
    kept = {".py", ".c", ".h", ".mk", ""}
    return sorted(
        path
        for path in folder_path.rglob("*")
        if path.suffix in kept and path.is_file() and "__pycache__" not in path.parts
    )


def _compiled_digest(sources: Path, sysroot: Path) -> str:
    parts: list[str | bytes] = [FORMAT, str(sysroot)]
    for path in _source_files(sources):
        if "agent" not in path.relative_to(sources).parts:
            parts += [str(path.relative_to(sources)), path.read_bytes()]
    return _digest_of(parts)


def _base_digest(compiled: str, sources: Path) -> str:
    import msgpack

    wire = Path(ktstr.__file__).parent / "wire"
    vm = Path(__file__).parent
    parts: list[str | bytes] = [compiled, interpreter_identity(), str(msgpack.version)]
    for path in (*_source_files(sources / "agent"), *_source_files(wire)):
        parts += [path.name, path.read_bytes()]
    for name in ("closure.py", "cpio.py", "image.py"):
        parts.append((vm / name).read_bytes())
    return _digest_of(parts)


class ImageStore:
    """Builds and keeps images below one cache folder."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else user_cache_path("ktstr") / "images"

    def base(
        self,
        sysroot: Callable[[], Path],
        progress: Progress | None = None,
        check: Check = lambda: None,
    ) -> Image:
        """The base image; compiled and packed only when a source of it changed; blocks.

        :param sysroot: gives the folder with libbpf; called only when something is compiled.
        :param check: called several times a second; what it raises ends the work.
        :raise GuestBuildFailed: with the end of the build log, or why nothing can be written.
        """
        try:
            return self._base(sysroot, progress, check)
        except OSError as error:
            raise _unwritable(self.root, error) from error
        except subprocess.TimeoutExpired as error:
            raise GuestBuildFailed(f"{error.cmd[0]} took longer than {error.timeout} s") from error

    def _base(self, sysroot: Callable[[], Path], progress: Progress | None, check: Check) -> Image:
        sources = guest_sources()
        compiled = _compiled_digest(sources, Path("libbpf"))
        digest = _base_digest(compiled, sources)
        path = self.root / f"base-{digest[:24]}.cpio"
        if path.is_file():
            os.utime(path)
            return Image(path, digest, fresh=False)
        self.root.mkdir(parents=True, exist_ok=True)
        with _locked(self.root / "build.lock", check):
            if path.is_file():
                return Image(path, digest, fresh=False)
            built = self._compile(sources, compiled, sysroot, progress, check)
            if progress:
                progress("packing the guest image", None)
            write_cpio(path, _base_entries(built, sources))
            self._prune(keep=built)
        return Image(path, digest, fresh=True)

    def _prune(self, keep: Path) -> None:
        # Every change of a source leaves an image behind; one that was used within the last
        # day may be in use now.
        oldest = time.time() - KEEP_S
        for made in (*self.root.glob("base-*.cpio"), *self.root.glob("compiled-*")):
            if made != keep and made.stat().st_mtime < oldest:
                shutil.rmtree(made) if made.is_dir() else made.unlink()

    def _compile(
        self,
        sources: Path,
        digest: str,
        sysroot: Callable[[], Path],
        progress: Progress | None,
        check: Check,
    ) -> Path:
        built = self.root / f"compiled-{digest[:24]}"
        if built.is_dir():
            return built
        for tool in ("make", "gcc"):
            if shutil.which(tool) is None:
                raise GuestBuildFailed(f"{tool} is not installed", hint=f"apt-get install {tool}")
        root = sysroot()
        if progress:
            progress("compiling the guest", None)
        with tempfile.TemporaryDirectory(dir=self.root, prefix="compiling-") as scratch:
            out = Path(scratch) / "out"
            out.mkdir()
            command = ["make", "-j2", "-C", str(sources), f"OUT={out}", f"SYSROOT={root}"]
            log = self.root / "build.log"
            status = _run(command, log, check)
            if status:
                end = "\n".join(log.read_text(errors="replace").strip().splitlines()[-15:])
                raise GuestBuildFailed(
                    f"the guest does not compile ({' '.join(command)}):\n{end}",
                    hint=f"the whole log is in {log}",
                )
            os.rename(out, built)
        return built

    def with_overlay(self, base: Image, entries: list[Entry], target: Path) -> Image:
        """An image of the base and these entries, written to ``target`` (owned by the caller).

        :raise GuestBuildFailed: when it cannot be written.
        """
        if not entries:
            return base
        overlay = target.with_suffix(".overlay")
        try:
            write_cpio(overlay, entries)
            with target.open("wb") as out:
                for part in (base.path, overlay):
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, out)
            digest = _digest_of([base.digest, overlay.read_bytes()])
            overlay.unlink()
        except OSError as error:
            raise _unwritable(target.parent, error) from error
        except ValueError as error:
            raise GuestBuildFailed(
                f"the scheduler does not fit into an image: {error}",
                hint="two of its libraries have the same name; link one of them statically",
            ) from error
        return Image(target, digest, fresh=True)


@contextmanager
def _locked(path: Path, check: Check) -> Iterator[None]:
    """Hold the build lock; another run may be compiling the same sources."""
    lock = FileLock(path)
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            lock.acquire(timeout=POLL_S)
            break
        except Timeout:
            check()
            if time.monotonic() > deadline:
                raise GuestBuildFailed(
                    f"another process has been building the guest for {LOCK_S:.0f} s ({path})",
                    hint="end it, or wait for it",
                ) from None
    try:
        yield
    finally:
        lock.release()


def _run(command: list[str], log: Path, check: Check) -> int:
    """Run a command with its output in ``log``; its whole process group ends with this call.

    It leads a session of its own: Ctrl-C is for the caller, who asks through ``check``.

    :return: its exit status.
    :raise GuestBuildFailed: when it takes longer than :data:`LOCK_S`.
    """
    deadline = time.monotonic() + LOCK_S
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while True:
                try:
                    return process.wait(POLL_S)
                except subprocess.TimeoutExpired:
                    check()
                if time.monotonic() > deadline:
                    raise GuestBuildFailed(
                        f"{command[0]} has not ended after {LOCK_S:.0f} s",
                        hint=f"its output so far is in {log}",
                    )
        finally:
            _end_group(process)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, then SIGKILL, to whatever of the process group still runs."""
    if process.returncode is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
            return


def _unwritable(folder: Path, error: OSError) -> GuestBuildFailed:
    return GuestBuildFailed(
        f"the guest image cannot be made in {folder}: {error.strerror} ({error.filename})",
        hint="free space there, or point XDG_CACHE_HOME and TMPDIR elsewhere",
    )


def _base_entries(built: Path, sources: Path) -> list[Entry]:
    entries = [Entry.directory(name) for name in ("proc", "sys", "dev", "tmp", "run", "var", "etc")]
    entries += python_entries(sources)
    for name, target in COMPILED.items():
        entries.append(Entry.file(target, (built / name).read_bytes(), 0o755))
    for bpf_object in sorted(built.glob("*.bpf.o")):
        entries.append(Entry.file(f"ktstr/sched/{bpf_object.name}", bpf_object.read_bytes()))
    return entries


def module_entries(modules: Iterable[Module]) -> list[Entry]:
    """Modules for init to load, their names in the order in which they come."""
    return [
        Entry.file(f"ktstr/modules/{place:03}-{module.name}.ko", module.data)
        for place, module in enumerate(modules)
    ]


def program_overlay(binary: Path, guest_path: str) -> list[Entry]:
    """A user's program, or a file for one, at ``guest_path``, with a program's libraries.

    :raise GuestBuildFailed: when it or a library of it cannot be read.
    """
    try:
        data = binary.read_bytes()
        entries = [Entry.file(guest_path.lstrip("/"), data, 0o755)]
        if data[:4] == b"\x7fELF" and not guest_path.endswith(".o"):
            entries += library_entries([binary])
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or error
        raise GuestBuildFailed(f"{binary}: {reason}") from None
    return entries
