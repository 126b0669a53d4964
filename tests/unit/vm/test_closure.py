# SPDX-License-Identifier: GPL-2.0-only
"""The guest's Python: complete, without traces of the host, stripped where that works."""

import marshal
import re
import subprocess
import sys
from pathlib import Path
from types import CodeType

import pytest

from ktstr.errors import GuestBuildFailed
from ktstr.vm import closure
from ktstr.vm.closure import (
    compile_module,
    import_entries,
    library_entries,
    python_entries,
    shared_libraries,
    stripped,
)
from ktstr.vm.image import guest_sources

LIBRARY = f"ktstr/python/lib/python{sys.version_info.major}.{sys.version_info.minor}/"


@pytest.fixture(scope="module")
def packed() -> dict[str, bytes]:
    return {entry.path: entry.data for entry in python_entries(guest_sources())}


def codes(code: CodeType) -> list[CodeType]:
    return [code, *(c for k in code.co_consts if isinstance(k, CodeType) for c in codes(k))]


def test_bytecode_names_no_file_of_the_host(packed: dict[str, bytes]) -> None:
    modules = {path: data for path, data in packed.items() if path.endswith(".pyc")}
    assert len(modules) > 20
    for path, data in modules.items():
        for code in codes(marshal.loads(data[16:])):
            assert not code.co_filename.startswith("/"), path
        assert str(Path(closure.__file__).parents[3]).encode() not in data, path


def test_bytecode_is_never_checked_against_a_source(tmp_path: Path) -> None:
    source = tmp_path / "m.py"
    source.write_text("def f():\n    assert False\n    return 41\n")
    data = compile_module(source, "a.m")
    assert data[:4] == __import__("importlib.util").util.MAGIC_NUMBER
    assert data[4:16] == b"\x01" + bytes(11)
    scope: dict[str, object] = {}
    exec(marshal.loads(data[16:]), scope)
    assert scope["f"]() == 41, "assertions are left out"  # type: ignore[operator]
    assert marshal.loads(data[16:]).co_filename == "a/m.py"


def test_every_module_the_agent_imports_is_packed(packed: dict[str, bytes], tmp_path: Path) -> None:
    """The packed files alone import the agent, with nothing of the host's on the path."""
    for path, data in packed.items():
        if path.startswith(LIBRARY) and not path.endswith("lib-dynload"):
            target = tmp_path / path.removeprefix(LIBRARY)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    script = (
        "import sys; sys.path[:] = [sys.argv[1]]; sys.path_importer_cache.clear()\n"
        "import agent.main\n"
        "print(sorted({m.__file__ for n, m in sys.modules.items()"
        " if n.startswith(('agent', 'ktstr', 'msgpack'))}))"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    files = eval(done.stdout)
    assert files and all(file.startswith(str(tmp_path)) for file in files)


def test_the_interpreter_comes_with_its_loader_and_libraries(packed: dict[str, bytes]) -> None:
    assert packed["ktstr/python/bin/python3"][:4] == b"\x7fELF"
    assert any(path.rpartition("/")[2].startswith("ld-linux") for path in packed)
    assert any(path.startswith("usr/lib/libc.so") for path in packed)


def test_what_cannot_be_stripped_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "no-elf"
    text.write_text("not a program")
    assert stripped(text) == b"not a program"
    for program in (None, "/nonexistent/strip"):
        monkeypatch.setattr(closure, "_strip_program", lambda program=program: program)
        assert stripped(text) == b"not a program"

    def hangs(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("strip", 60)

    monkeypatch.setattr(closure, "_strip_program", lambda: "/bin/true")
    monkeypatch.setattr(closure.subprocess, "run", hangs)
    assert stripped(text) == b"not a program"


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def ldd(*args: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        lines = "\tlinux-vdso.so.1 (0x7ff)\n\tlibgone.so.1 => not found\n"
        return subprocess.CompletedProcess([], 0, stdout=lines, stderr="")

    monkeypatch.setattr(closure.subprocess, "run", ldd)
    with pytest.raises(GuestBuildFailed, match=r"its library libgone\.so\.1 is not on this host"):
        shared_libraries([Path("/opt/sched")])


def test_libraries_are_found_in_what_ldd_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def ldd(*args: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        lines = (
            "\tlinux-vdso.so.1 (0x00007ffd)\n"
            "\tlibx.so.1 => /opt/lib/libx.so.1 (0x00007f00)\n"
            "\t/lib64/ld-linux-x86-64.so.2 (0x00007f01)\n"
        )
        return subprocess.CompletedProcess([], 0, stdout=lines, stderr="")

    monkeypatch.setattr(closure.subprocess, "run", ldd)
    monkeypatch.setattr(closure.os.path, "realpath", lambda path: path)
    assert shared_libraries([Path("/opt/sched")]) == {
        "/usr/lib/libx.so.1": Path("/opt/lib/libx.so.1"),
        "/lib64/ld-linux-x86-64.so.2": Path("/lib64/ld-linux-x86-64.so.2"),
    }


@pytest.fixture
def linked_by_path(tmp_path: Path) -> Path:
    """A program with a library that it knows by its path alone."""
    (tmp_path / "lib.c").write_text("int three(void) { return 3; }\n")
    (tmp_path / "main.c").write_text("int three(void);\nint main(void) { return three(); }\n")
    library, program = tmp_path / "libpath.so", tmp_path / "program"
    subprocess.run(["gcc", "-shared", "-fPIC", tmp_path / "lib.c", "-o", library], check=True)
    subprocess.run(["gcc", tmp_path / "main.c", library, "-o", program], check=True)
    return program


def test_a_library_linked_by_its_path_is_packed_at_that_path_too(
    linked_by_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = linked_by_path.with_name("libpath.so")
    monkeypatch.setattr(closure, "_MOUNTED_OVER", ("/proc/",))
    packed = {entry.path: entry.data for entry in library_entries([linked_by_path])}
    assert packed[str(library).lstrip("/")] == packed["usr/lib/libpath.so"] == stripped(library)
    assert "usr/lib/libc.so.6" in packed
    # Those that are searched for are packed once.
    assert [path for path in packed if path.endswith("libc.so.6")] == ["usr/lib/libc.so.6"]


def test_a_library_whose_path_the_guest_hides_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def ldd(*args: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, stdout="\t/tmp/build/liby.so (0x7f)\n", stderr="")

    monkeypatch.setattr(closure.subprocess, "run", ldd)
    with pytest.raises(GuestBuildFailed, match=r"liby\.so was linked by its path.* /tmp is"):
        shared_libraries([Path("/opt/sched")])


def test_what_hides_a_library_is_what_the_guest_mounts() -> None:
    source = (guest_sources() / "init" / "init.c").read_text()
    mounted = set(re.findall(r'\{"\w+", "(/\w+)', source))
    assert mounted == {place.rstrip("/") for place in closure._MOUNTED_OVER}


def test_what_a_file_imports_comes_with_all_that_needs(
    packed: dict[str, bytes], tmp_path: Path
) -> None:
    extra = {entry.path: entry.data for entry in import_entries(guest_sources(), ["import random"])}
    assert f"{LIBRARY}random.pyc" in extra
    modules = {path for path in extra if path.startswith(LIBRARY)}
    assert not modules & set(packed)
    for path, data in (packed | extra).items():
        if path.startswith(LIBRARY) and not path.endswith("lib-dynload"):
            target = tmp_path / path.removeprefix(LIBRARY)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    script = "import sys; sys.path[:] = [sys.argv[1]]; import random; print(random.__file__)"
    command = [sys.executable, "-I", "-S", "-B", "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith(str(tmp_path)), done.stderr


def test_nothing_more_is_packed_for_what_the_agent_has() -> None:
    assert import_entries(guest_sources(), []) == []
    assert import_entries(guest_sources(), ["import time", "from struct import pack"]) == []


def test_an_import_from_outside_the_standard_library_is_refused() -> None:
    with pytest.raises(GuestBuildFailed, match="import pytest") as raised:
        import_entries(guest_sources(), ["import pytest"])
    assert "No module named 'pytest'" in str(raised.value)
    assert "standard library" in str(raised.value)
