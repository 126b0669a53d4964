# SPDX-License-Identifier: GPL-2.0-only
"""Real kernels side by side, and one whose drivers are modules."""

import json
import os
import time
from pathlib import Path

import pytest

from ktstr.kernels import KernelCache
from ktstr.kernels.catalogue import NamedKernel, cached

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


def generic_is_here() -> bool:
    row = NamedKernel("", "debian:7/amd64", (), (), (), "")
    return cached(row, KernelCache().entries()) is not None


@pytest.mark.skipif(
    not (generic_is_here() or os.environ.get("KTSTR_TEST_LARGE")),
    reason="125 MB to download: `ktstr kernel fetch debian:7/amd64`, or set KTSTR_TEST_LARGE=1",
)
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
