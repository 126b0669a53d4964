# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr locks``: which run has which CPUs and how much memory of this host, and who waits."""

import json
import sys
import time

import click

from ktstr.cli.command_line import Command
from ktstr.errors import HostUnfit
from ktstr.leases.ledger import FOLDER_VARIABLE, Entry, Ledger, shared_ledger
from ktstr.report.printable import one_line


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def locks(as_json: bool) -> None:
    """Show which run holds which CPUs and how much memory of this host, and who waits.

    Kernels and templates of this user's cache that some run uses are named as well: these cannot be
    removed now.

    Every run takes its CPUs and memory out of one ledger, whichever process, user or daemon starts
    it. KTSTR_LEASES names another folder for the ledger; with KTSTR_LEASES=off a run heeds nobody.
    """
    ledger = shared_ledger()
    if ledger is None:
        click.echo(f"{FOLDER_VARIABLE}=off: runs of this environment heed nobody")
        return
    try:
        entries = ledger.entries()
    except OSError as error:
        unfit = HostUnfit(
            f"the ledger {ledger.folder} cannot be read: {error.strerror}",
            hint=f"name another folder with {FOLDER_VARIABLE}",
        )
        click.echo(f"error: {unfit}", err=True)
        sys.exit(int(unfit.exit_code))
    kernels, templates = _in_use()
    if as_json:
        document = {**_plain(ledger, entries), "kernels": kernels, "templates": templates}
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(_table(ledger, entries))
    for what, keys in (("kernels", kernels), ("templates", templates)):
        if keys:
            click.echo(f"{what} in use: {', '.join(keys)}")


def _in_use() -> tuple[list[str], list[str]]:
    from ktstr.kernels import KernelCache
    from ktstr.vm.template import TemplateStore

    cache = KernelCache()
    kernels = [entry.release for entry in cache.entries() if cache.in_use(entry)]
    return kernels, [key[:12] for key in TemplateStore(limit=0).in_use()]


def _plain(ledger: Ledger, entries: list[Entry]) -> dict[str, object]:
    return {
        "folder": str(ledger.folder),
        "cpus": {str(cpu): llc for cpu, llc in ledger.host.llc_of.items()},
        "memory_mib": ledger.host.memory_mib,
        "leases": [
            {
                "pid": entry.held.pid,
                "what": entry.what,
                "state": "waits" if entry.waits else "holds",
                "cpus": sorted(entry.held.cpus),
                "wanted_cpus": entry.want.cpus,
                "memory_mib": entry.want.memory_mib,
                "exclusive_llc": entry.want.exclusive_llc,
                "for_s": _seconds(entry),
            }
            for entry in entries
        ],
    }


def _table(ledger: Ledger, entries: list[Entry]) -> str:
    host = ledger.host
    caches = len(set(host.llc_of.values()))
    free = set(host.llc_of) - {cpu for entry in entries for cpu in entry.held.cpus}
    memory = sum(entry.held.memory_mib for entry in entries)
    cpus = f"{len(host.llc_of)} CPUs in {caches} last-level caches, {len(free)} free"
    lines = [f"{ledger.folder}: {cpus}; {memory} of {host.memory_mib or '?'} MiB leased"]
    if entries:
        lines.append(f"{'pid':>8}  {'state':6} {'CPUs':12} {'MiB':>7} {'for':>8}  run")
    for entry in entries:
        state = "waits" if entry.waits else "holds"
        if entry.waits and entry.want.cpus:
            cpus = f"{entry.want.cpus} wanted"
        else:
            cpus = ",".join(map(str, sorted(entry.held.cpus))) or "–"
        alone = " (LLC alone)" if entry.want.exclusive_llc else ""
        mib = entry.want.memory_mib or "–"
        lines.append(
            f"{entry.held.pid:>8}  {state:6} {cpus + alone:12} {mib:>7} {_seconds(entry):>7.1f}s"
            f"  {one_line(entry.what)}"
        )
    return "\n".join(lines)


def _seconds(entry: Entry) -> float:
    return round(max(0, time.monotonic_ns() - entry.since_ns) / 1e9, 1)
