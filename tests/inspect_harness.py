"""Inspect logs of responses that exist already, with what a grader said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import inspect_ai
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import solver


@solver
def replay():
    """Return a solver that answers what the sample's metadata hold."""

    async def solve(state, generate):
        del generate
        state.output = ModelOutput.from_content("mockllm/model", state.metadata["stored_response"])
        state.messages.append(state.output.message)
        return state

    return solve


@scorer(metrics=[accuracy()])
def stored_grader():
    """Return a scorer that grades as the sample's metadata say."""

    async def score(state, target):
        del target
        return Score(value=state.metadata["grade"])

    return score


def samples_of(rows: list[dict[str, Any]], grades: list[str] | None = None) -> list[Sample]:
    """Return samples in the layout of inspect_evals' coconot, with response and grade for `replay`."""
    return [
        Sample(
            id=row["id"],
            input=row["prompt"],
            metadata={
                "category": row.get("category"),
                "subcategory": row.get("subcategory"),
                "stored_response": row["response"],
                "grade": grade,
            },
        )
        for row, grade in zip(rows, grades or ["NEITHER"] * len(rows), strict=True)
    ]


def write_log(folder: Path, samples: list[Sample], *, scorer: Any = None, name: str = "coconot", **options: Any) -> Any:
    """Run a task that replays its samples and return its log, which is also written to `folder`."""
    task = Task(name=name, dataset=samples, solver=replay(), scorer=scorer or stored_grader(), **options)
    [log] = inspect_ai.eval(task, model="mockllm/model", log_dir=str(folder), display="none", log_format="eval")
    assert log.status == "success", log.error
    return log
