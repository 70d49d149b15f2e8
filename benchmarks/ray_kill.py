"""A Ray job one of whose two workers is killed on the way: has every row the verdict of a single process.

    python benchmarks/ray_kill.py FILE [--rows 4000] [--tier auto]

FILE holds completions as JSON lines; its rows are repeated under new ids up to `--rows`. The job is the command that
users run; as soon as both workers are at work and some output is written, one worker's process gets SIGKILL. Prints
what happened, writes benchmarks/results/ray_kill.json, and ends with status 1 if a row is missing or differs.
Needs the extra `ray` and psutil.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
from machine import describe, line

from refusal_clf import RefusalClassifier
from refusal_clf.integrations.batches import VERDICT_COLUMNS
from refusal_clf.reading import read_completions

RESULTS = Path(__file__).parent / "results" / "ray_kill.json"
WORKERS = 2
PREFIX = "clf_"


def main() -> None:
    """Run both, compare, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--tier", choices=("auto", "fast", "full"), default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch) / options.file.name, Path(scratch) / "out"
        write_rows(options.file, source, options.rows)
        started = time.perf_counter()
        verdicts = list(RefusalClassifier.load(threads=1).stream(read_completions(source), tier=options.tier))
        alone = time.perf_counter() - started
        started = time.perf_counter()
        events = run_and_kill(source, out, options.tier)
        together = time.perf_counter() - started
        found = [json.loads(row) for part in sorted(out.iterdir()) for row in part.open(encoding="utf-8")]
    expected = [{name: verdict.to_dict()[name] for name in ("id", *VERDICT_COLUMNS)} for verdict in verdicts]
    scored = [{"id": row["id"], **{name: row[PREFIX + name] for name in VERDICT_COLUMNS}} for row in found]
    differing = sum(a != b for a, b in zip(expected, scored, strict=False)) + abs(len(expected) - len(scored))
    document = {
        "machine": describe(),
        "tier": options.tier,
        "rows": options.rows,
        "rows_found": len(found),
        "rows_missing_or_different": differing,
        **events,
        "seconds_single_process_one_thread": round(alone, 1),
        "seconds_job_with_its_start": round(together, 1),
    }
    print("\n".join(f"{key.replace('_', ' ')}: {value}" for key, value in document.items() if key != "machine"))
    print(line(document["machine"]))
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if differing or events["workers_seen"] <= WORKERS:
        raise SystemExit(1)


def write_rows(file: Path, target: Path, count: int) -> None:
    """Repeat a file's rows, each under an id of its own."""
    rows = [json.loads(row) for row in file.open(encoding="utf-8")]
    with target.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(islice(cycle(rows), count)):
            stream.write(json.dumps({**row, "id": f"row-{number}"}, ensure_ascii=False) + "\n")


def run_and_kill(source: Path, out: Path, tier: str) -> dict[str, Any]:
    """Run the job's command, kill a worker in its midst, and return what was seen."""
    command = [sys.executable, "-m", "refusal_clf.integrations.ray_data", str(source), str(out)]
    command += ["--workers", str(WORKERS), "--tier", tier, "--prefix", PREFIX, "--rows-per-file", "500"]
    log = source.with_suffix(".log")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log.open("w", encoding="utf-8"))
    seen: set[int] = set()
    events: dict[str, Any] = {}
    job = psutil.Process(process.pid)
    while process.poll() is None:
        busy = workers_of(job)
        seen |= busy.keys()
        written = len(list(out.iterdir())) if out.is_dir() else 0
        if not events and written and len(busy) == WORKERS:
            victim = max(busy, key=lambda pid: busy[pid])
            os.kill(victim, signal.SIGKILL)
            events = {"killed_process": victim, "files_written_before": written}
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"the job failed:\n{log.read_text(encoding='utf-8')}")
    return {**events, "files_written": len(list(out.iterdir())), "workers_seen": len(seen)}


def workers_of(job: psutil.Process) -> dict[int, float]:
    """Return the job's scoring processes with the processor seconds that they took."""
    found = {}
    for child in job.children(recursive=True):
        try:
            if "MapWorker" in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                found[child.pid] = child.cpu_times().user
        except psutil.Error:
            continue  # ended between two looks
    return found


if __name__ == "__main__":
    main()
