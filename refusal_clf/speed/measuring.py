"""Speed and memory of the tiers on this machine, each run in a new process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from refusal_clf.classifier import RefusalClassifier
from refusal_clf.records import Completion
from refusal_clf.speed.process import READY

FIGURES: Final = ("rows_per_second", "latency_ms", "p99_ms", "startup_seconds", "peak_mib")
COCONOT: Final = 1_380
"""Responses of one model to CoCoNot: 1,001 of the original set and 379 of the contrast set."""
MILLION: Final = 1_000_000
SINGLE: Final = 200
"""Completions that are asked for one by one, at most."""

# What the interpreter may import is what it may here, and not what lies in the working directory.
_CHILD: Final = "import sys; sys.path[:] = sys.argv[2:]; import refusal_clf.speed.process as p; p.measure(sys.argv[1])"

Run = dict[str, float | None]


def draw(completions: Iterable[Completion], count: int) -> list[Completion]:
    """Return at most `count` of the completions, in random order, the same ones every time; one pass, and no more held.

    Algorithm R of Vitter 1985, ACM Transactions on Mathematical Software 11:37.
    """
    chance = np.random.default_rng(0)
    kept: list[Completion] = []
    for number, completion in enumerate(completions):
        if number < count:
            kept.append(completion)
        elif (place := int(chance.integers(number + 1))) < count:
            kept[place] = completion
    return [kept[index] for index in chance.permutation(len(kept))]


def measure(
    clf: RefusalClassifier,
    completions: Sequence[Completion],
    tiers: Sequence[str],
    repeats: int,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Return each tier's figures over the repeats: median, min and max.

    Repeats are interleaved, so that a machine that grows warm or busy does so for every tier.

    Parameters
    ----------
    clf
        The model and its threads; the processes load it anew.
    completions
        What is scored: all in one call, then the first `SINGLE` one by one.
    tiers
        Names of `TierChoice`.
    advance
        Told 1 after each process.

    Returns
    -------
    A document for each tier: `rows_per_second`; `latency_ms` and `p99_ms` of one completion; `startup_seconds`, from
    the start of a process to its first verdict; `peak_mib` of its resident memory, None where the system does not say;
    `encoder_share`, the share of the completions that the encoder was asked for; `estimated_seconds` of scoring
    CoCoNot and a million rows in a new process.
    """
    runs: dict[str, list[Run]] = {tier: [] for tier in tiers}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "completions.jsonl"
        file.write_text("".join(json.dumps(asdict(one)) + "\n" for one in completions), encoding="utf-8")
        job = {
            "model": str(clf.directory.resolve()),
            "threads": clf.threads,
            "completions": str(file),
            "single": min(SINGLE, len(completions)),
        }
        for _ in range(repeats):
            for tier in tiers:
                runs[tier].append(_run(job | {"tier": tier}))
                advance(1)
    return [{"tier": tier, **_summary(found)} for tier, found in runs.items()]


def _run(job: dict[str, Any]) -> Run:
    """Measure one tier in a new process, which does not outlive this call."""
    command = [sys.executable, "-P", "-c", _CHILD, json.dumps(job), *sys.path]
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as child,  # noqa: S603  # this interpreter, no shell
    ):
        try:
            ready, startup = child.stdout.readline(), time.perf_counter() - started  # type: ignore[union-attr]
            found = child.stdout.read()  # type: ignore[union-attr]
            status = child.wait()
        except BaseException:  # Ctrl-C above all; `process.measure` sees to what ends this process before
            child.kill()
            raise
        if status or ready.strip() != READY:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"the process that measured tier {job['tier']} ended with status {status}: {last}")
    return {"startup_seconds": startup, **json.loads(found)}


def _summary(runs: Sequence[Run]) -> dict[str, Any]:
    figures = {name: _spread([run[name] for run in runs]) for name in FIGURES}
    rate, startup = figures["rows_per_second"], figures["startup_seconds"]
    assert rate is not None  # noqa: S101  # every run has it
    assert startup is not None  # noqa: S101
    seconds = {
        name: round(startup["median"] + rows / rate["median"], 1)
        for name, rows in (("coconot", COCONOT), ("million", MILLION))
    }
    return {**figures, "encoder_share": round(runs[0]["encoder_share"] or 0.0, 4), "estimated_seconds": seconds}


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    found = {"median": median(known), "min": min(known), "max": max(known)}
    return {name: round(value, 3) for name, value in found.items()}
