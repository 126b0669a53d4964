# SPDX-License-Identifier: GPL-2.0-only
"""Real kernels side by side, and one whose drivers are modules."""

import gzip
import hashlib
import json
import lzma
import shutil
import struct
import time
from pathlib import Path

import pytest

from ktstr.kernels import KernelCache
from ktstr.kernels.catalogue import cached, named_kernels
from ktstr.kernels.image import read_header, unpack

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

TINY = """
name = "{name}"
[vm]
topology = "1n1l1c1t"
memory = "256M"
[scheduler]
{scheduler}
[[steps]]
hold = "300ms"
cgroups = [{{ name = "one", works = [{{ type = "SpinWait", workers = 1 }}] }}]
[checks]
min_iteration_rate = 0
"""

DISK = """
name = "disk"
[vm]
topology = "1n1l2c1t"
memory = "512M"
scratch_disk = "16M"
[scheduler]
kernel_default = true
[[steps]]
hold = "500ms"
cgroups = [{ name = "one", works = [{ type = "IoRandRead", workers = 1 }] }]
[checks]
min_iteration_rate = 1e15
"""


def test_kernels_side_by_side(ktstr) -> None:
    """What the stock kernel lacks is skipped there; what it can run is run, under EEVDF."""
    folder = ktstr.folder / "scenarios"
    folder.mkdir()
    for name, scheduler in (("own", "kernel_default = true"), ("scx", 'bpf = "scx_ktstr"')):
        (folder / f"{name}.toml").write_text(TINY.format(name=name, scheduler=scheduler))
    began = time.time()
    report = ktstr.folder / "o.json"
    done = ktstr.run(folder, "--kernels", "debian-7,stock-6.12", "--cold", f"--json={report}")
    assert done.code == 0, done.output

    found = json.loads(report.read_text())
    assert [kernel["kernel"] for kernel in found["matrix"]["kernels"]] == ["debian-7", "stock-6.12"]
    for kernel, series in zip(found["matrix"]["kernels"], ("7.", "6.12."), strict=True):
        assert kernel["release"].startswith(series)
    rows = {
        row["name"]: [cell["verdict"] for cell in row["cells"]] for row in found["matrix"]["rows"]
    }
    assert rows == {"own": ["pass", "pass"], "scx": ["pass", "skip"]}
    (skipped,) = (run for run in found["scenarios"] if run["verdict"] == "skip")
    assert skipped["reason"].startswith("not on kernel stock-6.12: 6.12.")
    assert "CONFIG_SCHED_CLASS_EXT" in skipped["reason"] and skipped["record"] is None
    noted = {(run["name"], run["kernel"]): " ".join(run["notes"]) for run in found["scenarios"]}
    assert (
        "has no sched_ext: this run is about its own scheduler, EEVDF" in noted["own", "stock-6.12"]
    )
    assert "EEVDF" not in noted["own", "debian-7"]

    cache = KernelCache()
    for name in ("debian-7", "stock-6.12"):
        record = next(r for r in found["scenarios"] if (r["name"], r["kernel"]) == ("own", name))
        digest = json.loads(Path(record["record"]).read_text())["kernel"]["digest"]
        assert (cache.root / "boots" / f"{digest}.json").stat().st_mtime >= began - 1


def repacked(image: Path, vmlinux: bytes, payload: bytes) -> bytes:
    """The bzImage with another payload, as if its kernel had been built with that compression."""
    data = image.read_bytes()
    header = read_header(data)
    assert header is not None
    whole = bytearray(data[: header.offset] + payload + struct.pack("<I", len(vmlinux)))
    struct.pack_into("<I", whole, 0x24C, len(whole) - header.offset)
    return bytes(whole)


PACKED = {
    "xz": lambda data: lzma.compress(data, preset=0),
    "gzip": lambda data: gzip.compress(data, 1)[:-4],  # it ends with the size by itself
}


def test_images_of_other_distributions(ktstr) -> None:
    """Debian's own image (zstd), packed as others pack theirs."""
    folder = ktstr.folder / "images"
    folder.mkdir()
    entry = cached(named_kernels()["debian-7"], KernelCache().entries())
    assert entry is not None, "the suite boots this kernel everywhere"
    image, vmlinux = entry.file("image"), entry.file("vmlinux")
    assert image is not None and vmlinux is not None
    plain = vmlinux.read_bytes()
    for kind, pack in PACKED.items():
        data = repacked(image, plain, pack(plain))
        header = read_header(data)
        assert header is not None and header.release == entry.release
        assert unpack(data, header, folder / "unpacked") == kind
        assert (folder / "unpacked").read_bytes() == plain
        (folder / kind).write_bytes(data)
    scenario = ktstr.folder / "own.toml"
    scenario.write_text(TINY.format(name="own", scheduler="kernel_default = true"))
    done = ktstr.run(scenario, "--kernel", f"path:{folder / 'gzip'}", "--cold")
    digest = hashlib.sha256((folder / "gzip").read_bytes()).hexdigest()
    # Made for this test alone, 100 MB of it.
    shutil.rmtree(KernelCache().root / "entries" / digest)
    assert done.code == 0, done.output
    assert done.record["kernel"]["release"] == entry.release


def test_drivers_that_are_modules(ktstr) -> None:
    """Debian's kernel for machines has the disk's and the panic device's drivers as modules."""
    scenario = ktstr.folder / "disk.toml"
    scenario.write_text(DISK)
    done = ktstr.run(scenario, "--kernel", "debian:7/amd64", "--cold")
    assert done.code == 1, done.output
    log = done.evidence["kernel.log"]
    assert "-amd64" in log and "-cloud-amd64" not in log
    assert "nvme nvme0" in log, "the scratch disk is there"
    assert "pvpanic-pci 0000" in log
    assert "ktstr-init: module" not in log
