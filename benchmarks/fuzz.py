"""Fuzz readers, the preparation of text, loaders and writers, guided by coverage, and keep what was found.

    pip install atheris
    python benchmarks/fuzz.py [--minutes 60] [--targets csv text ...] [--rounds 4] [--add]

Each target of tests/fuzz_targets.py gets its share of the time in every round, in a process of its own, from the seeds
of tests/fuzz_corpus/ and what earlier rounds found (runs/fuzz/). A finding is an exception other than InputError, a
failed assertion, an input that takes more than ten seconds of a processor or 2 GB; its bytes are kept under
runs/fuzz/TARGET-findings.
Prints a table and stores the run's figures in benchmarks/results/fuzz.json after each target's share; with --add, those
of earlier runs are kept and added up. Minutes and seconds are those of one processor, not those that pass.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import describe

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "fuzz.json"
SEEDS = ROOT / "tests" / "fuzz_corpus"
WORK = ROOT / "runs" / "fuzz"

sys.path.insert(0, str(ROOT / "tests"))


def main() -> None:
    """Run rounds over the targets."""
    from fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="of all targets and rounds together")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--add", action="store_true", help="to the figures of earlier runs")
    options = parser.parse_args()
    share = max(2, round(options.minutes * 60 / options.rounds / len(options.targets)))
    totals: dict[str, dict[str, Any]] = {}
    if options.add and RESULTS.exists():
        totals = json.loads(RESULTS.read_text(encoding="utf-8"))["targets"]
    for _ in range(options.rounds):
        for name in options.targets:
            _add(totals.setdefault(name, {"runs": 0, "seconds": 0, "findings": []}), _round(name, share))
            document = {"machine": describe(), "targets": totals}
            RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print("| target | inputs | seconds | corpus | findings |\n| --- | ---: | ---: | ---: | ---: |")
    for name, total in totals.items():
        print(f"| {name} | {total['runs']:,} | {total['seconds']} | {total['corpus']:,} | {len(total['findings'])} |")


def _round(name: str, seconds: int) -> dict[str, Any]:
    """Fuzz one target in a process of its own, again after each finding until its time is over."""
    from fuzz_targets import DEFAULT_LONGEST, LONGEST

    corpus, findings = WORK / name, WORK / f"{name}-findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    seeds = SEEDS / name
    used = _processor_seconds()
    found: dict[str, Any] = {"runs": 0, "seconds": 0, "findings": []}
    while (left := seconds - found["seconds"]) > 0:
        done = subprocess.run(
            [
                *(sys.executable, str(Path(__file__).parent / "fuzz_one.py"), name, str(left), str(corpus)),
                *([str(seeds)] if seeds.is_dir() else []),
                *(
                    "-timeout=600",  # of the clock, in case that it never ends; `fuzz_targets.run` takes the time
                    "-rss_limit_mb=2048",
                    f"-max_len={LONGEST.get(name, DEFAULT_LONGEST)}",
                ),
                f"-artifact_prefix={findings}/",
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        said = done.stdout + done.stderr
        runs = re.findall(r"^inputs: (\d+)$", said, re.MULTILINE)
        found["runs"] += int(runs[-1]) if runs else 0
        found["seconds"] = round(_processor_seconds() - used)
        if done.returncode == 0:
            break
        reason = re.findall(r"^\w*(?:Error|Exception)\b.*|^SUMMARY.*|^ERROR: libFuzzer.*", said, re.MULTILINE)
        found["findings"].append(" / ".join(line[:160] for line in reason[:2]) or said[-400:])
        print(f"{name}: {found['findings'][-1]}", flush=True)
        if len(found["findings"]) >= 5:
            break
    found["corpus"] = sum(1 for _ in corpus.iterdir())
    return found


def _processor_seconds() -> float:
    """Return what all processes of the targets used so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _add(total: dict[str, Any], found: dict[str, Any]) -> None:
    total["runs"] += found["runs"]
    total["seconds"] += found["seconds"]
    total["findings"] += found["findings"]
    total["corpus"] = found["corpus"]


if __name__ == "__main__":
    main()
