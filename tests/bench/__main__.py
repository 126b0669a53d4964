# SPDX-License-Identifier: GPL-2.0-only
"""``make bench``: figures against their bars, as one table.

What has to do with a guest is measured on real VMs, in this one run; ratios compare two things
measured side by side, so they hold when the machine's speed does not.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from rich.console import Console
from rich.table import Table
from tests.bench import (
    boot,
    carriers,
    clones,
    command,
    compare,
    daemon,
    daemon_queue,
    freeze,
    kernels,
    many,
    monitor,
    page,
    record,
    shell,
    virtual,
    worker,
)
from tests.bench import statistics as run_statistics

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    :param value: ``None`` when it could not be measured here; ``detail`` says why.
    :param bar: an upper limit in the same unit, or None.
    """

    what: str
    value: float | None
    unit: str
    bar: float | None
    detail: str = ""


def median_row(what: str, values: list[float], unit: str, bar: float | None) -> Row:
    """The median of repeated measurements, with their range as detail."""
    spread = f"{min(values):.3g} … {max(values):.3g}, n = {len(values)}"
    return Row(what, statistics.median(values), unit, bar, spread)


def boot_rows(runs: int) -> Iterator[Row]:
    """Boot, agent start, scheduler attach."""
    found = anyio.run(boot.measure, runs)
    yield median_row("QEMU start to Hello, 2 vCPU", found.hello_s, "s", 4.0)
    yield median_row("  of which the agent's own start", found.agent_s, "s", None)
    yield median_row("Hello to scheduler enabled", found.attach_s, "s", 2.5)
    ratio = statistics.median(found.bzimage_s) / statistics.median(found.hello_s)
    yield Row(
        "bzImage against vmlinux by PVH, start to Hello", ratio, "x", None, "same run, in turn"
    )


def fast_rows(runs: int) -> Iterator[Row]:
    """Boot of the quickest kernel, which takes minutes to build and so is not built for this."""
    what = "QEMU start to Hello, 2 vCPU, kernel with the fragment fast"
    kernel = boot.fast_kernel()
    if kernel is None:
        missing = "not in the cache: ktstr kernel build debian-source:6.12+fast"
        yield Row(what, None, "s", 1.5, missing)
        return
    yield median_row(what, anyio.run(boot.measure_fast, kernel, runs), "s", 1.5)


def kernel_rows(runs: int, *, build: bool) -> Iterator[Row]:
    """Kernels that come to be."""
    found = anyio.run(partial(kernels.measure, runs, build=build))
    own = [a - b for a, b in zip(found.fetched_s, found.download_s, strict=True)]
    yield median_row("Debian kernel, nothing cached, to ready, without downloads", own, "s", 20.0)
    yield median_row("  with index and downloads", found.fetched_s, "s", None)
    what = f"kernel of {kernels.SOURCE}, configuration base"
    if found.built_s:
        yield median_row(f"{what}, built", found.built_s, "s", 540.0)
    else:
        yield Row(f"{what}, built", None, "s", 540.0, "minutes: make bench BENCH_ARGS=--build")
    if found.found_s:
        yield median_row("  found in the cache", found.found_s, "s", 0.1)
    else:
        missing = f"not in the cache: ktstr kernel build {kernels.SOURCE}"
        yield Row("  found in the cache", None, "s", 0.1, missing)


def clone_rows(runs: int) -> Iterator[Row]:
    """Runs that continue a saved guest."""
    found = anyio.run(clones.measure, runs)
    yield median_row(
        "request to ScenarioStart, continued, scheduler attached", found.clone_s, "s", 0.4
    )
    yield median_row("  booted (--cold)", found.cold_s, "s", None)
    ratio = statistics.median(found.clone_s) / statistics.median(found.cold_s)
    yield Row("  continued against booted", 100 * ratio, "%", 100 / 12, "same run, in turn")
    yield median_row("guest stands still to become a template, 512 MB", found.kept_s, "s", 0.3)
    yield median_row("  the template on disk", found.kept_mb, "MB", 200.0)


def shell_rows(runs: int) -> Iterator[Row]:
    """A shell in a guest."""
    found = shell.measure(runs)
    yield median_row("ktstr shell to the prompt, continued", found.continued_s, "s", 5.0)
    yield median_row("  booted (--cold)", found.booted_s, "s", None)
    yield median_row("  Ctrl-C in endless output to the prompt", found.interrupt_s, "s", None)


def many_rows(continued: int, booted: int) -> Iterator[Row]:
    """Fifty runs of one command."""
    found = many.measure(continued, booted)
    counts = f"{found.continued} continued, {found.booted} booted, in the same measurement"
    ratio = found.booted_per_s / found.continued_per_s
    yield Row("runs of 1 s, --jobs auto: booted / continued, per second", ratio, "x", 1 / 4, counts)
    yield Row("  continued", found.continued_per_s, "runs/s", None)
    yield Row("  booted (--cold)", found.booted_per_s, "runs/s", None)


def virtual_rows(runs: int) -> Iterator[Row]:
    """The virtual clock."""
    found = anyio.run(virtual.measure, runs)
    ratio = statistics.median(found.virtual_s) / statistics.median(found.wall_s)
    spread = f"{min(found.virtual_s):.3g} … {max(found.virtual_s):.3g} s"
    yield Row("a run by the virtual clock / by the wall clock, booted", ratio, "x", None, spread)
    differing = len(found.identities) - found.alike
    beside = f"{found.alike} of {len(found.identities)} identical, {found.loaded} beside hogs"
    yield Row("runs of one seed that differ from the rest", differing, "", 0.0, beside)


def freeze_rows(count: int) -> Iterator[Row]:
    """Snapshots of a busy guest."""
    found = anyio.run(freeze.measure, count)
    yield from _pause_rows(f"{found.maps} maps, 4 vCPU", found, 3.0, 10.0)
    yield median_row("  decode, outside the freeze, CPU time", found.decode_ms, "ms", None)
    yield Row("attach to guest memory, kernel known", found.attach_s, "s", 0.3)


def many_maps_rows(count: int) -> Iterator[Row]:
    """Snapshots of a busy guest with 30 maps beside the scheduler's."""
    found = anyio.run(freeze.measure_many, count)
    yield from _pause_rows("30 maps / 1 MiB / 8 vCPU", found, 4.0, 12.0)
    yield Row("  bytes copied", found.copied / 1e6, "MB", None, f"{found.maps} maps in all")
    yield median_row("  decode, outside the freeze, CPU time", found.decode_ms, "ms", None)
    both = [a + b for a, b in zip(found.decode_ms, found.globals_ms, strict=True)]
    yield median_row("  decode and render all globals and counters, CPU time", both, "ms", 50.0)
    yield median_row("  plain form of everything, after it, CPU time", found.plain_ms, "ms", None)
    yield Row("  attach at 8 busy vCPUs, kernel known", found.attach_s, "s", 0.3)


def _pause_rows(
    guest: str, found: freeze.Figures, median_bar: float, p99_bar: float
) -> Iterator[Row]:
    what = f"guest paused per snapshot ({guest})"
    yield median_row(f"{what}, median", found.paused_ms, "ms", median_bar)
    ordered = sorted(found.paused_ms)
    p99 = ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]
    yield Row(f"{what}, p99", p99, "ms", p99_bar)
    yield median_row("  from the request until told to go on", found.request_ms, "ms", None)
    yield median_row("  of which copying", found.copy_ms, "ms", None)


def monitor_rows(pairs: int) -> Iterator[Row]:
    """What being watched costs the guest."""
    found = anyio.run(monitor.measure, pairs)
    what = "guest slowed down by monitor and 10 snapshots/s, 2 vCPU, pairs of 1 s"
    yield median_row(what, found.slowdown_pct, "%", 2.0)
    yield median_row("  of which it stood still", found.stood_pct, "%", None)
    yield median_row("  CPU time of the harness, of one CPU", found.harness_pct, "%", None)
    counts = f"{found.readings} readings, {found.snapshots} snapshots"
    yield Row(
        "  one reading, copied and decoded", statistics.median(found.tick_ms), "ms", None, counts
    )


def command_rows(runs: int) -> Iterator[Row]:
    """Whole processes."""
    found = command.measure(runs)
    yield median_row("run wall time minus scenario time", found.overhead_s, "s", 9.0)
    yield median_row("ktstr-run --help", found.help_s, "s", 0.25)
    yield Row("host memory of the harness process", found.memory_mb, "MiB", 250.0, "peak resident")
    yield median_row("image rebuild when nothing changed", found.image_s, "s", 0.1)


def statistics_rows(runs: int) -> Iterator[Row]:
    """Metrics of a large run, without a VM."""
    found = run_statistics.measure(runs)
    what = "populate + derive / one sort, 16 cgroups x 4 phases x 100 000 samples"
    yield median_row(what, found.ratios, "x", 2.5)
    yield median_row("  populate", [s * 1e3 for s in found.populate_s], "ms", None)
    yield median_row("  derive", [s * 1e3 for s in found.derive_s], "ms", None)
    yield median_row("  one sort of all samples", [s * 1e3 for s in found.sort_s], "ms", None)


def carrier_rows(repetitions: int) -> Iterator[Row]:
    """Folding the samples of many workers."""
    found = carriers.measure(repetitions)
    what = f"merge of {carriers.CARRIERS} full carriers, against a plain draw of the same size"
    yield median_row(what, found.ratios, "x", 3.0)
    yield median_row("  the merge itself", [s * 1e3 for s in found.merge_s], "ms", None)


def record_rows(runs: int) -> Iterator[Row]:
    """The sidecar of a large run."""
    found = record.measure(runs)
    what = "sidecar written and read, 16 cgroups x 4 phases x 100 000 samples"
    yield median_row(what, found.both_s, "s", 1.0)
    yield median_row("  of which written", found.write_s, "s", None)
    yield median_row("  of which read", found.read_s, "s", None)
    yield Row("  size of the file", found.size_mb, "MB", 60.0)


def compare_rows(runs: int, count: int) -> Iterator[Row]:
    """Two sets of records, by a whole process."""
    found = compare.measure(runs, count)
    what = f"compare two sets of {count} records, 8 runs of each scenario"
    yield median_row(what, found.repeated_s, "s", 3.0)
    yield median_row("  one run of each", found.single_s, "s", 3.0)
    yield Row("  a record", found.record_kb, "kB", None, "64 captures")


def page_rows(runs: int) -> Iterator[Row]:
    """The page of a run of 64 samples, 16 CPUs and 8 cgroups."""
    found = page.measure(runs)
    yield median_row("HTML page written, 64 samples x 16 CPUs x 8 cgroups", found.write_s, "s", 1.0)
    yield median_row("  opened in Chromium, to the first frame", found.ready_s, "s", 1.0)
    yield Row("  size of the file", found.size_mb, "MB", 1.5)
    moves = sorted(found.move_ms)
    # The browser's clock goes on while other processes have its CPU: the slowest is in the detail.
    what = f"  {page.MOVES} moves of the cursor over 1 000 readings: 99 % are within"
    slowest = f"median {statistics.median(moves):.2g}, slowest {moves[-1]:.3g}"
    yield Row(what, moves[round(len(moves) * 0.99) - 1], "ms", 16.0, slowest)
    yield median_row("  a zoom, everything in sight drawn again", found.zoom_ms, "ms", None)


def worker_rows() -> Iterator[Row]:
    """What measuring costs a worker; a SpinWait iteration has one checkpoint of 1024 units."""
    found = worker.measure()
    yield Row("one iteration of SpinWait in the guest", found["spin_iteration_ns"], "ns", None)
    for piece in ("checkpoint", "clock_read", "reservoir_push", "epoch_look"):
        share = f"{100 * found[f'{piece}_share']:.2g} % of an iteration"
        yield Row(f"  {piece.replace('_', ' ')}", found[f"{piece}_ns"], "ns", None, share)


def daemon_queue_rows() -> Iterator[Row]:
    """Runs without guests through the daemon."""
    found = daemon_queue.measure()
    count = f"{daemon_queue.RUNS} runs of scripts, a process each"
    yield Row("a run's time in the daemon, 4 at a time", found.run_ms, "ms", 20.0, count)
    yield Row("  CPU time of the daemon itself", found.cpu_ms, "ms", None, "of each run")
    small = f"a share of {daemon_queue.SMALL_SHARE} behind one of 490"
    yield Row(
        "  place of the smaller share's last start",
        found.last_small,
        "",
        daemon_queue.LATEST,
        small,
    )
    left = f"{found.fds} descriptors, {found.children} processes"
    yield Row("  left over: descriptors and processes", found.fds + found.children, "", 0.0, left)
    yield Row("  memory of the daemon, grown by", found.grown_mib, "MiB", 8.0)


def daemon_rows(pairs: int) -> Iterator[Row]:
    """Runs through the daemon, and the daemon alone."""
    found = daemon.measure(pairs)
    added = [a - b for a, b in zip(found.remote_s, found.alone_s, strict=True)]
    what = "request to ScenarioStart, continued: through the daemon minus alone"
    yield median_row(what, added, "s", 0.1)
    yield median_row("  alone", found.alone_s, "s", None)
    yield median_row("  through the daemon", found.remote_s, "s", None)
    yield Row("daemon at rest, resident", found.idle_mib, "MiB", 80.0, "runner's origin apart")
    yield Row("  wake-ups", found.wakes_per_s, "1/s", 1.0, f"over {daemon.IDLE_S:.0f} s")
    yield median_row("finding that there is no daemon", found.check_ms, "ms", 2.0)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--build", action="store_true", help="also build a kernel")
    parser.add_argument("--only", metavar="WORD", help="only the parts whose names have WORD")
    options = parser.parse_args()
    quick = options.quick
    console = Console(width=120)
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "statistics": lambda: statistics_rows(5 if quick else 9),
        "command": lambda: command_rows(2 if quick else 3),
        "boot": lambda: boot_rows(2 if quick else 5),
        "boot-fast": lambda: fast_rows(2 if quick else 5),
        "kernels": lambda: kernel_rows(1 if quick else 3, build=options.build),
        "clones": lambda: clone_rows(2 if quick else 5),
        "shell": lambda: shell_rows(2 if quick else 5),
        "many": lambda: many_rows(*((10, 4) if quick else (50, 10))),
        "virtual": lambda: virtual_rows(4 if quick else 50),
        "freeze": lambda: freeze_rows(60 if quick else 300),
        "freeze-maps": lambda: many_maps_rows(100 if quick else 300),
        "monitor": lambda: monitor_rows(6 if quick else 30),
        "worker": worker_rows,
        "carriers": lambda: carrier_rows(3 if quick else 9),
        "compare": lambda: compare_rows(3 if quick else 5, 200 if quick else 1000),
        "daemon-queue": daemon_queue_rows,
        "daemon-runs": lambda: daemon_rows(4 if quick else 12),
        "records": lambda: record_rows(3 if quick else 5),
        "page": lambda: page_rows(3 if quick else 9),
    }
    table = Table("what", "measured", "bar", "", "detail", box=None, pad_edge=False)
    for name, part in parts.items():
        if options.only is not None and options.only not in name:
            continue
        for row in part():
            bar = "" if row.bar is None else f"≤ {row.bar:g} {row.unit}"
            if row.value is None:
                table.add_row(row.what, "–", bar, "", row.detail)
                continue
            mark = "" if row.bar is None else "ok" if row.value <= row.bar else "OVER"
            table.add_row(row.what, f"{row.value:.3g} {row.unit}", bar, mark, row.detail)
    machine = subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout.strip()
    console.print(f"{machine} host cores; medians unless said otherwise")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
