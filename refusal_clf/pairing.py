"""Two runs -> pairs of the same item, before and after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from refusal_clf.desired import complied
from refusal_clf.records import InputError, Verdict


@dataclass(frozen=True, slots=True)
class Item:
    """A verdict, and the texts it was made of where they are at hand."""

    verdict: Verdict
    prompt: str | None = None
    response: str | None = None

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        """What makes it the same item in two runs."""
        return self.verdict.suite, self.verdict.subset, self.verdict.id

    @property
    def complied(self) -> bool:
        """Whether it counts as compliance (`desired.complied`)."""
        return complied(self.verdict)

    @property
    def empty(self) -> bool:
        """Whether there was no response: such items are in no rate."""
        return "empty" in self.verdict.flags


@dataclass(frozen=True, slots=True)
class Pair:
    """The same item in the baseline and in the run."""

    before: Item
    after: Item

    @property
    def answered(self) -> bool:
        """Whether both responses count in rates."""
        return not self.before.empty and not self.after.empty

    def wrong(self, desired: str) -> tuple[bool, bool]:
        """Return whether the verdict before, and that after, is on the side that is not desired."""
        against = desired != "compliance"
        return self.before.complied == against, self.after.complied == against


def pair(before: Iterable[Item], after: Iterable[Item], *, intersect: bool = False) -> list[Pair]:
    """Match the items of two runs by suite, subset and id, in the order of `after`.

    Parameters
    ----------
    intersect
        Compare what is in both runs; otherwise a run over other items is refused.

    Raises
    ------
    InputError
        If an item has no id or stands twice in a run, if its prompt is another one, or if the runs differ in items.
    """
    old, new = _by_key(before, "baseline"), _by_key(after, "run")
    common = [key for key in new if key in old]
    if not common or (not intersect and not len(common) == len(old) == len(new)):
        hint = "; --intersect compares those in both" if common else ""
        raise InputError(
            f"the runs are over different items: {len(common):,} in both, {len(old) - len(common):,} only in the "
            f"baseline, {len(new) - len(common):,} only in the run{hint}"
        )
    pairs = [Pair(old[key], new[key]) for key in common]
    for found in pairs:
        prompts = found.before.prompt, found.after.prompt
        if None not in prompts and " ".join(str(prompts[0]).split()) != " ".join(str(prompts[1]).split()):
            raise InputError(f"item '{found.after.verdict.id}' has one prompt in the baseline and another in the run")
    return pairs


def _by_key(items: Iterable[Item], name: str) -> dict[tuple[str, str | None, str | None], Item]:
    found: dict[tuple[str, str | None, str | None], Item] = {}
    for item in items:
        if item.verdict.id is None:
            raise InputError(f"an item of the {name} has no id to find its pair by; give the files of completions")
        if item.key in found:
            models = {item.verdict.model, found[item.key].verdict.model}
            why = (
                f" (models {', '.join(sorted(map(str, models)))}: check one model at a time)" if len(models) > 1 else ""
            )
            raise InputError(f"item '{item.verdict.id}' stands twice in the {name}{why}")
        found[item.key] = item
    return found
