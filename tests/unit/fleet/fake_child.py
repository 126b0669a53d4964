# SPDX-License-Identifier: GPL-2.0-only
"""Stands in for the process of a run: what it does is told by words of the scenario's name.

``pass``, ``fail``; ``long``: until it is cancelled; ``killer``: takes its worker along, each time;
``killonce``: only the first time; ``dies``: ends without a result; ``big``: leaves a large file.
"""

import json
import os
import select
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    order = json.loads(sys.stdin.buffer.readline())
    if "prepare" in order:
        _end("cannot run" if "missing" in order["prepare"] else "pass")
        return
    parcel, folder = order["parcel"], Path(order["folder"])
    log = Path(order["guests"]).parent / "ran.log"
    words = parcel["name"].split("_")
    with log.open("a") as lines:
        print(parcel["name"], os.getppid(), os.getpid(), file=lines)
    print(json.dumps({"say": "Step[0], 1 of 1"}), flush=True)
    if "warns" in words:
        print(json.dumps({"warning": "a warning\x1b[31m"}), flush=True)
    if "killer" in words or ("killonce" in words and not _ran_before(log, parcel["name"])):
        os.kill(os.getppid(), signal.SIGKILL)
        sys.stdin.buffer.read()
        return
    if "dies" in words:
        print("no more", file=sys.stderr)
        os._exit(7)
    wait_s = 60.0 if "long" in words else 0.1
    ready, _, _ = select.select([sys.stdin], [], [], wait_s)
    if ready:
        with log.open("a") as lines:
            print("cancelled", parcel["name"], file=lines)
        sys.exit(130)
    out = folder.parent / "out"
    evidence = out / f"{parcel['name']}-1.evidence"
    evidence.mkdir(parents=True)
    (evidence / "files.txt").write_text(_listing(folder))
    if "big" in words:
        (evidence / "big.bin").write_bytes(b"x" * (40 << 20))
    record = out / f"{parcel['name']}-1.ktstr.json"
    record.write_text(json.dumps({"name": parcel["name"], "evidence": str(evidence)}))
    _end("fail" if "fail" in words else "pass", record, evidence)


def _ran_before(log: Path, name: str) -> bool:
    return sum(line.startswith(f"{name} ") for line in log.read_text().splitlines()) > 1


def _listing(folder: Path) -> str:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return "".join(f"{path.relative_to(folder)} {os.access(path, os.X_OK)}\n" for path in found)


def _end(verdict: str, record: Path | None = None, evidence: Path | None = None) -> None:
    codes = {"pass": 0, "fail": 1, "cannot run": 4}
    result = {
        "verdict": verdict,
        "exit_code": codes[verdict],
        "sidecar": None if record is None else str(record),
        "wall_s": 0.1,
        "reason": "" if verdict == "pass" else "as told",
        "workload_s": None,
        "details": [],
        "notes": [],
        "facts": {"pid": str(os.getpid())},
        "evidence": None if evidence is None else str(evidence),
    }
    print(json.dumps({"result": result}), flush=True)
    time.sleep(0)


if __name__ == "__main__":
    main()
