"""What the parts of `crash_safety.py` share: processes of the command line, what they leave, and small disks."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "data" / "samples" / "completions.jsonl"
COMMAND = [sys.executable, "-m", "refusal_clf"]
CHAIN = 6
TIMED_OUT = 120


def killed(
    kills: int,
    chance: random.Random,
    whole: float,
    begin: Callable[[int, bool], list[str]],
    differs: Callable[[int], bool],
    works_on: Callable[[int], Path] | None = None,
) -> dict[str, Any]:
    """Kill runs until there were enough kills, let each end, and count the ends that are not as they should be.

    Much of a short run is its start. `works_on` tells the file that changes after it: then every second kill comes
    within a tenth of a run from the file's first change.
    """
    done = trials = wrong = refused = 0
    while done < kills:
        trials += 1
        resumed = False
        for _ in range(min(CHAIN, kills - done)):
            process = start(begin(trials, resumed))
            moment = chance.uniform(0.02, 1.0)
            if works_on is not None and done % 2:
                wait_for_change(process, works_on(trials))
                moment /= 10
            try:
                process.wait(moment * whole)
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


def wait_for_change(process: subprocess.Popen[bytes], path: Path) -> None:
    """Wait until a file comes to be or is written, or the process ends."""
    before = path.stat().st_mtime_ns if path.exists() else None
    while process.poll() is None and (path.stat().st_mtime_ns if path.exists() else None) == before:
        time.sleep(0.005)


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
