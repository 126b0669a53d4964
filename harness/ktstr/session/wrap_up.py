# SPDX-License-Identifier: GPL-2.0-only
"""After the last frame: facts into the record, evidence and sidecar onto the disk."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ktstr.metrics.phase import Phase
from ktstr.series.dump.text import dump_text
from ktstr.series.repro.probes import without_ring
from ktstr.session.definition import work_types
from ktstr.session.evidence import as_json, write_evidence
from ktstr.session.judge import Expectations
from ktstr.session.live import Live
from ktstr.session.options import RunOptions
from ktstr.session.programs import verifier_facts
from ktstr.session.provenance import provenance
from ktstr.session.record import RunRecord
from ktstr.session.repro import has_probes
from ktstr.session.sidecar.write import write_sidecar
from ktstr.session.snapshots import LastLook
from ktstr.session.virtual import LAST_LINE, add_identity, again, is_virtual
from ktstr.vm.console import tail, tail_lines

JOURNAL = "harness.log"
DUMP_JSON, DUMP_TEXT = "failure-dump.json", "failure-dump.txt"
KERNEL_TAIL, SCHEDULER_TAIL = 12, 20
"""Lines of the two logs that are shown, and therefore recorded."""

LOAD_TAIL = 400
"""Lines of the scheduler's log when it never attached: libbpf's and the verifier's account."""

TAIL_CHARS = 1000
CONSOLE_CAP = 4 * 1024 * 1024


def conclude(record: RunRecord, live: Live, options: RunOptions, look: LastLook) -> None:
    """Complete the record and write it; the evidence first, for anything but a pass, and for a
    repetition with probes.

    :raise OutputUnwritable: when the output folder refuses.
    """
    recorder = live.recorder
    record.samples = live.series()
    record.monitor = live.report()
    record.reports = recorder.reports
    record.events = recorder.events
    record.expected_nodes = Expectations.of(live.definition).expected_nodes()
    record.facts = _facts(live)
    record.host |= {
        "qemu_command": live.machine.command,
        "accelerator_reason": live.prepared.accel.reason,
        "agent_start_s": None if recorder.hello is None else recorder.hello.agent_start_s,
        "harness_peak_mib": peak_memory_mib(),
        "again": again(live.definition, options),
        **provenance(Path(live.definition.scenario.source.file), options.run_source),
    }
    virtual = is_virtual(live.definition.plan)
    until = LAST_LINE if virtual else None
    console = tail_lines(live.machine.console_log, KERNEL_TAIL, until=until)
    record.console_tail = _bounded(console)
    unloaded = recorder.scheduler_exit is not None and recorder.attached_at is None
    said = recorder.scheduler_log.text().splitlines()
    record.scheduler_tail = _bounded(said[-(LOAD_TAIL if unloaded else SCHEDULER_TAIL) :])
    if record.exit_code or has_probes(live.definition):
        folder = options.out_dir / f"{record.name}-{record.run_id}.evidence"
        record.evidence = write_evidence(folder, *_evidence(live, look, bool(record.exit_code)))
        if record.exit_code and look.dump is not None:
            record.host["failure_dump"] = str(folder / DUMP_JSON)
    if virtual:
        add_identity(record, live, options)
    record.sidecar = write_sidecar(options.out_dir, record)


def _bounded(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(line[:TAIL_CHARS] for line in lines)


def peak_memory_mib() -> int | None:
    """Largest resident memory of this process so far, MiB (VmHWM in proc_pid_status(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return None


def _facts(live: Live) -> dict[str, Any]:
    recorder, ready = live.recorder, live.prepared
    scenario = live.definition.scenario
    return {
        "description": scenario.description,
        "kernel": {
            "spec": ready.kernel.spec,
            "release": ready.kernel.release,
            "digest": ready.kernel.digest,
            "commit": ready.kernel.commit,
        },
        "image_digest": ready.image.digest,
        "topology": str(live.definition.topology),
        "memory_mib": scenario.vm.memory_mib,
        "numa_nodes": [node.plain() for node in recorder.hello.nodes] if recorder.hello else [],
        "accelerator": ready.accel.name,
        "scheduler": {
            "kind": scenario.scheduler.kind,
            "path": scenario.scheduler.bpf or scenario.scheduler.binary,
            "profile": scenario.scheduler.profile,
            "statuses": recorder.statuses,
            "exit": _exit(recorder.scheduler_exit),
        },
        "verifier": verifier_facts(live),
        "stats_meta": live.stats_meta,
        "steps": [
            {"index": i + 1, "phase": str(Phase(i + 1)), "name": step.name, "hold_ms": hold}
            for i, (step, hold) in enumerate(
                zip(scenario.steps, live.definition.holds_ms, strict=True)
            )
        ],
        "work_types": work_types(live.definition.plan),
        "checks": scenario.checks.plain()
        | {
            "across": [check.plain() for check in scenario.checks.across],
            "temporal": [check.plain() for check in scenario.checks.temporal],
        },
        "link": live.link.decoder.stats.as_dict(),
        "notes": recorder.notes,
    }


def _exit(found: Any) -> dict[str, Any] | None:
    if found is None:
        return None
    return {name: getattr(found, name) for name in found.__slots__ if name != "dump"}


def _evidence(live: Live, look: LastLook, failed: bool) -> tuple[dict[str, str], dict[str, Path]]:
    recorder, machine = live.recorder, live.machine
    ended = recorder.scheduler_exit
    texts = {
        "kernel.log": look.kernel_log or tail(machine.console_log, CONSOLE_CAP),
        "console.log": tail(machine.console_log, CONSOLE_CAP),
        "scheduler.log": recorder.scheduler_log.text(),
        "agent.log": recorder.agent_log.text(),
        "qemu.command": machine.command + "\n",
        "notes.txt": "\n".join(recorder.notes) + "\n" if recorder.notes else "",
    }
    if ended is not None:
        texts["scheduler-exit.json"] = as_json(_exit(ended))
        texts["sched_ext-dump.txt"] = ended.dump
    if failed and look.dump is not None:
        texts[DUMP_JSON] = as_json(look.dump.to_json())
        texts[DUMP_TEXT] = dump_text(look.dump)
    if look.snapshot is not None:
        texts["last-snapshot.json"] = as_json(without_ring(look.snapshot).to_json())
    run_dir = machine.console_log.parent
    return texts, {
        "frames.bin": run_dir / "frames.bin",
        "qemu.log": machine.qemu_log,
        JOURNAL: run_dir / JOURNAL,
    }
