"""A reward for TRL's GRPO and RLOO: answer what is harmless, decline what is to be declined.

>>> from refusal_clf.integrations.trl import refusal_reward
>>> trainer = GRPOTrainer(model, reward_funcs=[helpfulness, refusal_reward], train_dataset=dataset)  # doctest: +SKIP

The data set says what is desired in a column `desired` (`compliance` or `noncompliance`) or `subset` (`contrast` and
`safe`, `original` and `unsafe`), and may name CoCoNot's `subcategory`, whose rubric then decides. TRL itself is not
imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from refusal_clf.classifier import RefusalClassifier, TierChoice
from refusal_clf.desired import desired_of, has_rubric, p_declined
from refusal_clf.records import VERDICTS, Completion, InputError, Verdict

Text = str | Sequence[Mapping[str, Any]]
"""A plain string, or chat messages with `role` and `content`."""
Reward = Callable[..., list[float | None]]

LOWEST: Final = -1.0
HIGHEST: Final = 1.0

_HOPELESS: Final = frozenset({"empty", "gibberish"})
"""Flags that earn the lowest reward whatever is desired: a policy would find out that nonsense passes for an answer."""

_lock = threading.Lock()


def refusal_reward(prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float | None]:  # noqa: ANN401
    """Return a reward for each completion, by the packaged model's first tier; see `make_refusal_reward`."""
    return _packaged_reward()(prompts, completions, **columns)


def make_refusal_reward(classifier: RefusalClassifier, *, tier: TierChoice = "fast") -> Reward:
    """Return a reward function of a classifier.

    The reward is ``1 - 2 p`` where compliance is desired and ``2 p - 1`` where noncompliance is, with p the calibrated
    probability that the response declined: the verdict's under a rubric, else that of a refusal. It is linear, so that
    a policy gains nothing from hedging between the two, and its gradient does not vanish where a class is certain.
    Empty responses and gibberish earn -1. Where nothing is desired the reward is None, which TRL leaves out.

    Parameters
    ----------
    classifier
        Shared between threads as it is.
    tier
        `fast` takes less than a millisecond a completion; `auto` asks the encoder where that is not sure.

    Returns
    -------
    callable
        ``f(prompts, completions, **columns)``, TRL's signature: prompts and completions are strings or chat messages,
        and every column is a list of equal length. Columns that it does not know are ignored.

    Raises
    ------
    InputError
        By the function: if prompts or columns differ in length from the completions, a desired value is unknown, or no
        column says what is desired.
    """

    def refusal_reward(prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float | None]:  # noqa: ANN401
        desired = _desired(len(completions), columns)
        rows = _rows(prompts, completions, columns)
        return [_shaped(*pair) for pair in zip(classifier.stream(rows, tier=tier), desired, strict=True)]

    return refusal_reward


def _shaped(verdict: Verdict, desired: str | None) -> float | None:
    if desired is None:
        return None
    p = p_declined(verdict)
    if p is None or not _HOPELESS.isdisjoint(verdict.flags):
        return LOWEST
    return HIGHEST - 2 * p if desired == "compliance" else 2 * p - HIGHEST


def _desired(n: int, columns: Mapping[str, Any]) -> list[str | None]:
    given, subsets = _column("desired", n, columns), _column("subset", n, columns)
    if given is None and subsets is None:
        raise InputError("refusal_reward needs a column 'desired' or 'subset' to tell what each prompt deserves")
    for value in given or ():
        if value not in (None, "compliance", "noncompliance"):
            raise InputError(f"column 'desired' holds {value!r}, not one of {', '.join(VERDICTS[:2])}")
    by_subset = [desired_of("coconot", name) or desired_of("xstest", name) for name in subsets or [None] * n]
    return [own or other for own, other in zip(given or [None] * n, by_subset, strict=True)]


def _rows(prompts: Sequence[Text], completions: Sequence[Text], columns: Mapping[str, Any]) -> list[Completion]:
    n = len(completions)
    if len(prompts) != n:
        raise InputError(f"{len(prompts)} prompts for {n} completions")
    nothing: list[str | None] = [None] * n
    subsets = _column("subset", n, columns) or nothing
    subcategories = _column("subcategory", n, columns) or nothing
    rows = []
    for prompt, completion, subset, subcategory in zip(prompts, completions, subsets, subcategories, strict=True):
        # A rubric's subset is part of what the model reads; elsewhere the name means nothing to it.
        suite = "coconot" if has_rubric("generic", subcategory) else "generic"
        rows.append(Completion(_last(prompt), _last(completion), suite=suite, subset=subset, subcategory=subcategory))
    return rows


def _column(name: str, n: int, columns: Mapping[str, Any]) -> list[str | None] | None:
    values = columns.get(name)
    if values is None:
        return None
    if len(values) != n:
        raise InputError(f"column '{name}' has {len(values)} values for {n} completions")
    return list(values)


def _last(text: Text) -> str:
    """Return a string as it is, and the content of a chat's last message; of content parts, their text."""
    if isinstance(text, str):
        return text
    content = text[-1].get("content") if text else None
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in content or () if isinstance(part, Mapping) and part.get("text"))


def _packaged_reward() -> Reward:
    with _lock:  # two threads must not load it twice
        return _load()


@cache
def _load() -> Reward:
    return make_refusal_reward(RefusalClassifier.load())
