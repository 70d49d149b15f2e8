"""What ends a run other than SIGKILL, for each command that writes: signals, closed pipes, full disks, a second run."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from crash_harness import TIMED_OUT, remount, results, run, start, tmpfs, wait_for_change

MOMENTS: Final = 6


@dataclass(frozen=True)
class Command:
    """A command that writes into a folder.

    Attributes
    ----------
    arguments
        The folder -> the arguments of a run.
    resume
        What is added to go on after an interruption.
    sign
        The file that shows that the run is writing; None if everything is written at the end, all at once.
    ignored
        Files that differ between equal runs: a store of calls holds their times.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    resume: tuple[str, ...] = ()
    sign: str | None = None
    ignored: tuple[str, ...] = ()

    def left_in(self, folder: Path) -> dict[str, str]:
        """Return a digest of every file that counts."""
        found = results(folder) if folder.exists() else {}
        return {name: digest for name, digest in found.items() if not name.endswith(self.ignored or ("\0",))}


def events(command: Command, scratch: Path) -> Iterator[dict[str, Any]]:
    """Yield what came of each event: exit statuses, messages, and whether the results in the end were others."""
    scratch.mkdir()
    started = time.monotonic()
    assert run(command.arguments(scratch / "whole")).returncode == 0
    whole = time.monotonic() - started
    expected = command.left_in(scratch / "whole")
    for found in chain(
        _signals(command, scratch, whole, expected),
        _pipes(command, scratch, expected),
        _vanishing(command, scratch, whole, expected),
        _twice(command, scratch, expected),
        _disks(command, scratch, expected),
    ):
        yield {"command": command.name, **found}


def _again(command: Command, out: Path, expected: dict[str, str]) -> int:
    """Go on with a run; say whether its end is not as it should be."""
    ended = run([*command.arguments(out), *command.resume])
    return int(ended.returncode != 0 or command.left_in(out) != expected)


def _signals(command: Command, scratch: Path, whole: float, expected: dict[str, str]) -> Iterator[dict[str, Any]]:
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        statuses, wrong, traces = [], 0, 0
        for step in range(MOMENTS):
            out = scratch / f"{number.name}-{step}"
            process = start(command.arguments(out), stderr=subprocess.PIPE)
            moment = 0.4 + 0.6 * step / MOMENTS
            if command.sign is not None:
                wait_for_change(process, out / command.sign)
                moment = 0.1 * step / MOMENTS
            try:
                process.wait(moment * whole)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
            traces += b"Traceback" in process.communicate()[1]
            statuses.append(process.returncode)
            wrong += _again(command, out, expected)
        yield {
            "event": number.name,
            "trials": MOMENTS,
            "stopped_in_order": statuses.count(status),
            "ended_before_it": statuses.count(0),
            "stopped_before_python_began": statuses.count(-number),
            "tracebacks": traces,
            "different_in_the_end": wrong,
        }


def _pipes(command: Command, scratch: Path, expected: dict[str, str]) -> Iterator[dict[str, Any]]:
    for which in ("stdout", "stderr"):
        out = scratch / f"pipe-{which}"
        process = start(command.arguments(out), **{which: subprocess.PIPE})
        getattr(process, which).close()
        code = process.wait(TIMED_OUT)
        yield {"event": f"closed {which}", "status": code, "different_in_the_end": _again(command, out, expected)}


def _vanishing(command: Command, scratch: Path, whole: float, expected: dict[str, str]) -> Iterator[dict[str, Any]]:
    out = scratch / "vanishing"
    out.mkdir()
    process = start(command.arguments(out), stderr=subprocess.PIPE)
    if command.sign is not None:
        wait_for_change(process, out / command.sign)
    else:
        time.sleep(whole / 8)
    assert process.poll() is None
    shutil.rmtree(out)
    message = process.communicate()[1].decode().replace(str(scratch), "")
    left = command.left_in(out)
    yield {
        "event": "vanishing folder",
        "status": process.returncode,
        "message": message,
        "left": sorted(left),
        "different_in_the_end": _again(command, out, expected) if process.returncode else int(left != expected),
    }


def _twice(command: Command, scratch: Path, expected: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Start two runs at the same time: one of them is refused, or, without a lock, both end."""
    out = scratch / "twice"
    runs = [
        start(arguments, stderr=subprocess.PIPE)
        for arguments in (command.arguments(out), [*command.arguments(out), *command.resume])
    ]
    said = [process.communicate()[1].decode().replace(str(scratch), "") for process in runs]
    yield {
        "event": "two runs at once",
        "statuses": sorted(process.returncode for process in runs),
        "messages": [text for text, process in zip(said, runs, strict=True) if process.returncode],
        "different_in_the_end": int(command.left_in(out) != expected),
    }


def _disks(command: Command, scratch: Path, expected: dict[str, str]) -> Iterator[dict[str, Any]]:
    for kib in (8, 16, 32, 64, 256):
        with tmpfs(scratch / f"disk-{kib}", kib) as disk:
            if disk is None:
                yield {"event": f"disk of {kib} KiB", "skipped": "mounting takes root"}
                continue
            full = run(command.arguments(disk / "out"))
            remount(disk, f"size={64 * 2**20}")
            yield {
                "event": f"disk of {kib} KiB",
                "status": full.returncode,
                "message": full.stderr.replace(str(scratch), ""),
                "different_after_resuming_with_room": _again(command, disk / "out", expected),
            }
            if full.returncode == 0:
                break
    with tmpfs(scratch / "read-only", 64) as disk:
        if disk is not None:
            remount(disk, "ro")
            refused = run(command.arguments(disk))
            message = refused.stderr.replace(str(scratch), "")
            yield {"event": "read-only disk", "status": refused.returncode, "message": message}
