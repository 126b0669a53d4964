# SPDX-License-Identifier: GPL-2.0-only
"""What the guest's Python needs of the host's: modules, extension modules, libraries.

The agent is imported once on the host, in a bare interpreter, and the modules that
really came along are the closure. Sources are compiled here, so the guest never does.
"""

import functools
import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType

from ktstr.errors import GuestBuildFailed
from ktstr.vm.cpio import Entry

GUEST_HOME = "ktstr/python"
LIBRARY = f"{GUEST_HOME}/lib/python{sys.version_info.major}.{sys.version_info.minor}"
_PROBE = """
import json, sys
standard = list(sys.path)
sys.path[:0] = json.loads(sys.argv[1])
import agent.custom, agent.main, agent.programs
have = set(sys.modules) if sys.argv[2:] else set()
sys.path[:] = standard
for statement in sys.argv[2:]:
    exec(statement, {})
found = {n: getattr(m, "__file__", None) for n, m in sys.modules.items() if n not in have}
print(json.dumps(found))
"""
_PROGRAMS = {
    "agent": "from agent.main import main\n\nmain()\n",
    "custom": "import sys\n\nfrom agent.custom import main\n\nmain(sys.argv[1:])\n",
}
_LOADER_PLACES = ("/lib64/", "/lib/ld")
# By the guest's init (guest/init/init.c): what is packed below is not seen.
_MOUNTED_OVER = ("/proc/", "/sys/", "/dev/", "/tmp/", "/run/")
# Imported by the interpreter before -I and -S take effect, or by name at start-up.
_ALWAYS = (
    "encodings",
    "encodings.utf_8",
    "encodings.aliases",
    "encodings.ascii",
    "encodings.latin_1",
)


def python_entries(guest_dir: Path) -> list[Entry]:
    """The interpreter, the agent's module closure and every shared library they load.

    :param guest_dir: folder that holds the ``agent`` package.
    :raise GuestBuildFailed: when the agent cannot be imported on this host.
    """
    modules = _imported_modules(guest_dir)
    for name in _ALWAYS:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            modules[name] = spec.origin
    entries, binaries = _module_entries(modules)
    binaries.insert(0, Path(os.path.realpath(sys.executable)))
    for program, source in _PROGRAMS.items():
        target = f"ktstr/{program}.pyc"
        entries[target] = Entry.file(target, _pyc(compile(source, program, "exec")))
    interpreter = f"{GUEST_HOME}/bin/python3"
    entries[interpreter] = Entry.file(interpreter, stripped(binaries[0]), 0o755)
    # getpath decides where the standard library is by these two landmarks.
    entries[f"{LIBRARY}/lib-dynload"] = Entry.symlink(f"{LIBRARY}/lib-dynload", ".")
    for entry in library_entries(binaries):
        entries.setdefault(entry.path, entry)
    return list(entries.values())


def import_entries(guest_dir: Path, statements: Iterable[str]) -> list[Entry]:
    """What these import statements take beyond :func:`python_entries`.

    :param statements: done here once; they find the standard library, and nothing else.
    :raise GuestBuildFailed: when one fails.
    """
    wanted = sorted(statements)
    if not wanted:
        return []
    entries, binaries = _module_entries(_imported_modules(guest_dir, *wanted))
    return [*entries.values(), *(library_entries(binaries) if binaries else ())]


def _module_entries(modules: Mapping[str, str]) -> tuple[dict[str, Entry], list[Path]]:
    """Modules' entries by path, and the extension modules among them."""
    entries: dict[str, Entry] = {}
    binaries = []
    for name, source in sorted(modules.items()):
        path = Path(source)
        is_package = path.stem == "__init__"
        where = f"{LIBRARY}/{name.replace('.', '/')}"
        if path.suffix == ".py":
            target = f"{where}/__init__.pyc" if is_package else f"{where}.pyc"
            entries[target] = Entry.file(target, compile_module(path, name))
        else:
            target = f"{LIBRARY}/{'/'.join(name.split('.')[:-1])}/{path.name}".replace("//", "/")
            entries[target] = Entry.file(target, stripped(path), 0o755)
            binaries.append(path)
    return entries, binaries


def _imported_modules(guest_dir: Path, *statements: str) -> dict[str, str]:
    """Name to file of what the agent imports, or of what the statements import beyond that."""
    import msgpack

    paths = [str(guest_dir), str(Path(__file__).parents[2]), str(Path(msgpack.__file__).parents[1])]
    command = [sys.executable, "-I", "-S", "-B", "-c", _PROBE, json.dumps(paths), *statements]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        what = f"imports of Python work ({'; '.join(statements)}) fail in"
        raise GuestBuildFailed(
            f"{what if statements else 'the guest agent cannot be imported by'} "
            f"{sys.executable}:\n{done.stderr.strip()}",
            hint="Python work has the standard library only" if statements else None,
        )
    modules: dict[str, str | None] = json.loads(done.stdout)
    return {
        name: source
        for name, source in modules.items()
        if source and name != "os.path" and Path(source).is_file()
    }


def compile_module(path: Path, name: str) -> bytes:
    """The module's bytecode file; its recorded path is the module's name, not the host's."""
    return _pyc(compile(path.read_bytes(), f"{name.replace('.', '/')}.py", "exec", optimize=1))


def _pyc(code: CodeType) -> bytes:
    # PEP 552: flags 1 is a hash-based file that is never checked against a source.
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


@functools.cache
def _strip_program() -> str | None:
    return shutil.which("strip")


def stripped(path: Path) -> bytes:
    """The file without symbols and debug information (a distribution's libpython can be 20 MB).

    What cannot be stripped is taken as it is: that is larger, not wrong.

    :raise OSError: when the file cannot be read.
    """
    program = _strip_program()
    if program is not None:
        with (
            suppress(OSError, subprocess.TimeoutExpired),
            tempfile.NamedTemporaryFile(prefix="ktstr-strip-") as out,
        ):
            command = [program, "--strip-unneeded", "-o", out.name, str(path)]
            done = subprocess.run(command, capture_output=True, timeout=60, check=False)
            if done.returncode == 0:
                return Path(out.name).read_bytes()
    return path.read_bytes()


def shared_libraries(binaries: list[Path]) -> dict[str, Path]:
    """Absolute guest path → host file of every library the binaries load.

    What a loader searches by name is in the standard place; what it opens by its path (the loader
    itself, a library that was linked by its path and has no soname) is at that path too.

    :raise GuestBuildFailed: when one cannot be found, or not be put where it is looked for.
    """
    found: dict[str, Path] = {}
    for binary in binaries:
        done = subprocess.run(
            ["ldd", str(binary)], capture_output=True, text=True, timeout=60, check=False
        )
        for line in done.stdout.splitlines():
            name, arrow, rest = line.strip().partition(" => ")
            target = (rest if arrow else name).split(" (")[0].strip()
            if target == "not found":
                raise GuestBuildFailed(
                    f"{binary}: its library {name} is not on this host",
                    hint="install the package that holds it, or link the program statically",
                )
            if not target.startswith("/"):
                continue
            host = Path(os.path.realpath(target))
            if not target.startswith(_LOADER_PLACES):
                found.setdefault(f"/usr/lib/{Path(target).name}", host)
            if target.startswith(_LOADER_PLACES) or not arrow:
                found.setdefault(_fixed_place(binary, target), host)
    return found


def _fixed_place(binary: Path, target: str) -> str:
    place = os.path.normpath(target)
    if place.startswith(_MOUNTED_OVER):
        raise GuestBuildFailed(
            f"{binary}: its library {target} was linked by its path, and in the guest "
            f"/{place.split('/')[1]} is mounted over",
            hint="give the library a soname (-Wl,-soname), or link the program statically",
        )
    return place


def library_entries(binaries: list[Path]) -> list[Entry]:
    """The binaries' libraries, each wherever its loader will look."""
    return [
        Entry.file(place.lstrip("/"), stripped(host), 0o755)
        for place, host in shared_libraries(binaries).items()
    ]


def interpreter_identity() -> str:
    """What changes when another interpreter would be packed."""
    binary = os.path.realpath(sys.executable)
    info = os.stat(binary)
    return f"{binary} {sys.version} {info.st_size} {info.st_mtime_ns} {sysconfig.get_platform()}"
