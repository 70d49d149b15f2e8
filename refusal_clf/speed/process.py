"""One tier, measured in the process that runs this, which holds nothing else of a benchmark."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from refusal_clf.classifier import RefusalClassifier
from refusal_clf.machine import peak_mib
from refusal_clf.records import Completion

READY: Final = "ready"
"""The line that says that the first verdict was given."""

_FIRST: Final = Completion(prompt="Who are you?", response="I'd rather not say, but I can help with your essay.")


def measure(job: str) -> None:
    """Answer once, say so, then time the rows in one call and some of them one by one; print the figures as JSON.

    Parameters
    ----------
    job
        JSON: `model` (a directory), `threads`, `tier`, `completions` (a file of them, as `Completion`'s fields) and
        `single`, how many of them are asked for one by one.
    """
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    wanted: dict[str, Any] = json.loads(job)
    tier = wanted["tier"]
    clf = RefusalClassifier.load(wanted["model"], threads=wanted["threads"])
    clf.predict([_FIRST], tier=tier)
    print(READY, flush=True)  # noqa: T201  # a line to the process that waits for it
    with Path(wanted["completions"]).open(encoding="utf-8") as file:
        completions = [Completion(**json.loads(row)) for row in file]
    if tier == "auto":  # which loads the encoder where the first verdict did not take it
        clf.predict([_FIRST], tier="full")
    started = time.perf_counter()
    verdicts = clf.predict(completions, tier=tier)
    seconds = time.perf_counter() - started
    single = [_milliseconds(clf, completion, tier) for completion in completions[: wanted["single"]]]
    figures = {
        "rows_per_second": len(completions) / seconds,
        "latency_ms": float(np.median(single)),
        "p99_ms": float(np.percentile(single, 99)),
        "peak_mib": peak_mib(),
        "encoder_share": sum(verdict.tier == "full" for verdict in verdicts) / len(verdicts),
    }
    print(json.dumps(figures), flush=True)  # noqa: T201


def _end_with_the_starter() -> None:
    """Wait for the end of standard input, which the process that started this one holds open, and end at once.

    A signal may end the starter while it is still starting this process, when nobody is there to stop it.
    """
    if not os.read(0, 1):  # not `sys.stdin`, whose lock the interpreter takes when it ends
        os._exit(1)


def _milliseconds(clf: RefusalClassifier, completion: Completion, tier: Any) -> float:  # noqa: ANN401  # from JSON
    started = time.perf_counter()
    clf.predict([completion], tier=tier)
    return 1000 * (time.perf_counter() - started)
