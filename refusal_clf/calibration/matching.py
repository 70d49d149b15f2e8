"""Labels -> the completions that they are of: by id, else by prompt and response."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from refusal_clf.records import Completion, InputError, Label, Verdict

HUMAN: Final = "human"
"""The judge of labels that people gave."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A completion as the classifier judged it; the others are None where only the verdict is at hand.

    `text` is `text_key` of the completion.
    """

    verdict: Verdict
    text: bytes | None = None
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """Which labels belong to which completions.

    Attributes
    ----------
    rows
        Place of the completion -> its label.
    n_by_id, n_by_text
        How they were matched.
    n_unmatched
        Labels of no completion in the file, or of several.
    n_other_response
        Those among them whose id is in the file with another response.
    n_empty
        Labels of empty responses, which no rate contains.
    n_without_id
        Labels without an id, where only verdicts are at hand and no texts to match.
    """

    rows: dict[int, Label]
    n_by_id: int
    n_by_text: int
    n_unmatched: int
    n_other_response: int
    n_empty: int
    n_without_id: int

    def describe(self) -> str:
        """Return the counts as a phrase."""
        total = len(self.rows) + self.n_unmatched + self.n_empty
        text = f"{len(self.rows)} of {total} labels match a completion"
        parts = [f"{self.n_by_id} by id", f"{self.n_by_text} by prompt and response"]
        if self.n_other_response:
            parts.append(f"{self.n_other_response} have the id of a completion with another response")
        if self.n_empty:
            parts.append(f"{self.n_empty} are of empty responses")
        text = f"{text} ({', '.join(parts)})"
        if self.n_without_id:
            text += f"; {self.n_without_id} have no id: give the completions file instead of the results folder"
        return text


def text_key(completion: Completion) -> bytes | None:
    """Return a digest of prompt and response; None without a response."""
    if not completion.response:
        return None
    text = f"{completion.prompt.strip()}\0{completion.response.strip()}"
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def counting(scored: Sequence[Scored]) -> list[int]:
    """Return the places of the completions that count in rates: those with a response."""
    return [place for place, one in enumerate(scored) if "empty" not in one.verdict.flags]


def choose_judge(labels: Sequence[Label], truth: str, name: str | None) -> tuple[str, list[Label]]:
    """Return whose labels are the truth, and those labels.

    Parameters
    ----------
    labels
        All that were given.
    truth
        "human": the labels whose judge is `human`. "judge": those of one judge.
    name
        Which judge, where there are several.

    Raises
    ------
    InputError
        If there are none, or several judges and no name, or the name contradicts `truth`.
    """
    if truth == HUMAN and name not in (None, HUMAN):
        raise InputError(f"--truth human takes the labels of people: give it or --judge-name {name}, not both")
    if truth != HUMAN and name == HUMAN:
        raise InputError("people are not a judge: give --truth human in the place of --judge-name human")
    by_judge: dict[str, list[Label]] = {}
    for label in labels:
        by_judge.setdefault(label.judge, []).append(label)
    counts = ", ".join(f"{judge} ({len(given)})" for judge, given in sorted(by_judge.items()))
    if truth == HUMAN:
        if HUMAN not in by_judge:
            raise InputError(f"no labels whose judge is 'human' (found: {counts})")
        return HUMAN, by_judge[HUMAN]
    judges = sorted(set(by_judge) - {HUMAN})
    if name is not None:
        if name not in by_judge:
            raise InputError(f"no labels of the judge '{name}' (found: {counts})")
        return name, by_judge[name]
    if not judges:
        raise InputError("all labels are of people: give --truth human")
    if len(judges) > 1:
        raise InputError(f"the labels are of several judges: choose one with --judge-name (found: {counts})")
    return judges[0], by_judge[judges[0]]


def match(scored: Sequence[Scored], labels: Iterable[Label]) -> Matches:
    """Match one judge's labels to completions.

    An id decides together with suite, subset and model, as far as both sides name them; a label that carries another
    response than the completion of its id is not a label of it. Labels without an id, or whose id is not in the file,
    are matched by prompt and response; of completions that are alike in all, each label takes the next.

    Raises
    ------
    InputError
        If two labels are of the same completion.
    """
    by_id: dict[str, list[int]] = {}
    by_text: dict[bytes, list[int]] = {}
    for place, one in enumerate(scored):
        if one.verdict.id is not None:
            by_id.setdefault(one.verdict.id, []).append(place)
        if one.text is not None:
            by_text.setdefault(one.text, []).append(place)
    rows: dict[int, Label] = {}
    counts = dict.fromkeys(("id", "text", "other", "unmatched", "empty", "without_id"), 0)
    # Ids first: what they name must not be taken by a label that any of several would do for.
    for label in sorted(labels, key=lambda label: label.completion.id is None):
        found, how = _find(scored, by_id, by_text, rows, label)
        if found is None:
            counts["unmatched"] += 1
            counts["other"] += how == "other"
            counts["without_id"] += label.completion.id is None and not by_text
        elif "empty" in scored[found].verdict.flags:
            counts["empty"] += 1
        elif found in rows:
            raise InputError(f"two labels of '{label.judge}' are of one completion (id {scored[found].verdict.id})")
        else:
            rows[found] = label
            counts[how] += 1
    return Matches(
        rows,
        n_by_id=counts["id"],
        n_by_text=counts["text"],
        n_unmatched=counts["unmatched"],
        n_other_response=counts["other"],
        n_empty=counts["empty"],
        n_without_id=counts["without_id"],
    )


def _find(
    scored: Sequence[Scored],
    by_id: dict[str, list[int]],
    by_text: dict[bytes, list[int]],
    taken: Container[int],
    label: Label,
) -> tuple[int | None, str]:
    text = text_key(label.completion)
    same_id = list(_compatible(scored, by_id.get(label.completion.id or "", ()), label.completion))
    found = [place for place in same_id if text is None or scored[place].text in (None, text)]
    if len(found) == 1:
        return found[0], "id"
    if text is not None:
        found = list(_compatible(scored, by_text.get(text, ()), label.completion))
        if found and len({_metadata(scored[place].verdict) for place in found}) == 1:
            return next((place for place in found if place not in taken), found[0]), "text"
    return None, "other" if same_id and text is not None else ""


def _metadata(verdict: Verdict) -> tuple[str | None, ...]:
    return verdict.suite, verdict.subset, verdict.category, verdict.subcategory, verdict.model


def _compatible(scored: Sequence[Scored], places: Iterable[int], completion: Completion) -> Iterator[int]:
    """Yield the places whose suite, subset and model do not contradict the label's."""
    for place in places:
        verdict = scored[place].verdict
        pairs = (
            (verdict.suite, completion.suite),
            (verdict.subset, completion.subset),
            (verdict.model, completion.model),
        )
        if all(a == b or a in (None, "generic") or b in (None, "generic") for a, b in pairs):
            yield place
