"""What a user waits for: `--help`, one cold `classify`, a whole CoCoNot file; wall time and peak memory.

    python benchmarks/first_run.py FILE [--repeats 5]

Every measurement is a new process of the installed command, as a user starts it. Prints a table and the
machine, and writes benchmarks/results/first_run.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from machine import describe, line

RESULTS = Path(__file__).parent / "results" / "first_run.json"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a command took: wall seconds, seconds of processors (user and system), peak resident MiB."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def measure(arguments: list[str]) -> Cost:
    """Run the command once, as a process of its own.

    Linux counts into the peak what this process held when it started the command: it must stay smaller.
    """
    started = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def command() -> str:
    """Return the command as it is installed beside this Python."""
    return shutil.which("refusal-clf", path=str(Path(sys.executable).parent)) or "refusal-clf"


def main() -> None:
    """Run the measurements, print and store them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="completions to score, such as a model's responses to CoCoNot")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rows = sum(1 for _ in options.file.open(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        score = [command(), "score", str(options.file), "--out", scratch + "/run", "--overwrite"]
        runs = {
            "--help": [command(), "--help"],
            "classify, cold": [command(), "classify", "--prompt", "Who are you?", "--response", "I'd rather not say."],
            f"score {rows} rows, --tier full": [*score, "--tier", "full"],
            f"score {rows} rows, --tier auto": [*score, "--tier", "auto"],
            f"score {rows} rows, --tier fast": [*score, "--tier", "fast"],
        }
        results = {}
        for name, arguments in runs.items():
            measured = [measure(arguments) for _ in range(options.repeats)]
            results[name] = {
                "median_seconds": round(statistics.median(one.seconds for one in measured), 3),
                "max_seconds": round(max(one.seconds for one in measured), 3),
                "peak_mib": round(max(one.peak_mib for one in measured), 1),
            }
    machine = describe()
    print("| command | median s | slowest s | peak MiB |\n| --- | --- | --- | --- |")
    for name, result in results.items():
        print(f"| {name} | {result['median_seconds']} | {result['max_seconds']} | {result['peak_mib']} |")
    print(f"\n{options.repeats} runs each; {line(machine)}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
