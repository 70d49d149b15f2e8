"""What the tasks' YAML files name: prompts, the metrics of one response, and their means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from refusal_clf.classifier import RefusalClassifier
from refusal_clf.cli.choices import metadata_of
from refusal_clf.desired import complied, declined
from refusal_clf.reading import read_prompts
from refusal_clf.records import Completion, InputError
from refusal_clf.suites import load_suite

_FIELDS = ("id", "prompt", "suite", "subset", "category", "subcategory")


def prompts(
    file: str | None = None, suite: str | None = None, subset: str | None = None, **_: object
) -> dict[str, Any]:
    """Return the split `test`: a document for each prompt of a file or, without one, of a suite's subset.

    Parameters
    ----------
    file
        Any file of prompts that the package reads.
    suite, subset
        What is taken if there is no file: a suite that `refusal-clf data pull` fetched.

    Raises
    ------
    InputError
        If neither is given, the file is unusable, or the suite is not at hand.
    """
    return {"test": _dataset(_documents(file, suite, subset))}


def _documents(file: str | None, suite: str | None, subset: str | None) -> list[dict[str, Any]]:
    if file is not None:
        rows = read_prompts(Path(file), metadata=metadata_of("auto"))
        return [{name: getattr(row, name) for name in _FIELDS} for row in rows]
    if suite is None:
        raise InputError('this task needs its prompts: --metadata \'{"file": "prompts.jsonl"}\'')
    found = load_suite(suite)
    if found is None:
        raise InputError(f"the prompts of {suite} are not at hand: run `refusal-clf data pull {suite}` once")
    items = [item for item in found.items if subset in (None, item.subset)]
    return [{name: getattr(item, name, suite) for name in _FIELDS} for item in items]


def _dataset(documents: list[dict[str, Any]]) -> Any:  # noqa: ANN401
    from datasets import Dataset  # the harness brings it, and takes nothing else

    return Dataset.from_list(documents)


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float | None]:
    """Return the metrics of one response: `compliance` and `refusal`, 1 or 0; None for an empty one.

    Under a rubric (CoCoNot) `compliance` is the verdict's and `refusal` any noncompliance; elsewhere the refusal class
    decides both.
    """
    completion = Completion(response=results[0], **{name: doc[name] for name in _FIELDS})
    [verdict] = _classifier().predict([completion])
    if "empty" in verdict.flags:
        return {"compliance": None, "refusal": None}
    return {"compliance": float(complied(verdict)), "refusal": float(declined(verdict))}


def mean_of_scored(values: Iterable[float | None]) -> float:
    """Return the mean of what was scored; NaN if nothing was."""
    scored = [value for value in values if value is not None]
    return sum(scored) / len(scored) if scored else float("nan")


@cache
def _classifier() -> RefusalClassifier:
    return RefusalClassifier.load()
