"""What a model is asked: the prompts of a suite, by its name or from a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from refusal_clf.integrations.suite import stratified
from refusal_clf.reading import read_prompts
from refusal_clf.records import Completion, InputError
from refusal_clf.suites import SUITES, load_suite


def suite_prompts(name: str, limit: int | None = None) -> list[Completion]:
    """Return a suite's prompts, as completions whose response is empty.

    Parameters
    ----------
    name
        A file of prompts in any format that `score` reads (responses in it are dropped), or the name of a suite whose
        data is at hand.
    limit
        So many of them, each subset and subcategory in its proportion; default: all.

    Raises
    ------
    InputError
        If there is no such file and no such suite, or its data is not at hand.
    """
    prompts = [replace(prompt, response="", model=None) for prompt in _prompts(name)]
    return prompts if limit is None else stratified(prompts, limit)


def _prompts(name: str) -> Iterable[Completion]:
    path = Path(name)
    if path.exists():
        return read_prompts(path, metadata=load_suite("coconot"))
    named = sorted(suite.name for suite in SUITES.values() if suite.files is not None)
    if name not in named:
        raise InputError(f"no such file, and no suite of this name (known: {', '.join(named)})", file=name)
    suite = load_suite(name)
    if suite is None:
        raise InputError(f"the prompts of {name} are not at hand: refusal-clf data pull {name}")
    return (
        Completion(item.prompt, "", item.id, name, item.subset, item.category, item.subcategory) for item in suite.items
    )
