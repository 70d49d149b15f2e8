"""Labels -> the completions that they are of: by id, else by prompt and response."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from refusal_clf.records import Completion, InputError, Label, Verdict

HUMAN: Final = "human"
"""The judge of labels that people gave."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A completion as the classifier judged it; `text` is `text_key` of it, None where only the verdict is at hand."""

    verdict: Verdict
    text: bytes | None = None


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
    """

    rows: dict[int, Label]
    n_by_id: int
    n_by_text: int
    n_unmatched: int
    n_other_response: int
    n_empty: int

    def describe(self) -> str:
        """Return the counts as a phrase."""
        total = len(self.rows) + self.n_unmatched + self.n_empty
        text = f"{len(self.rows)} of {total} labels match a completion"
        parts = [f"{self.n_by_id} by id", f"{self.n_by_text} by prompt and response"]
        if self.n_other_response:
            parts.append(f"{self.n_other_response} have the id of a completion with another response")
        if self.n_empty:
            parts.append(f"{self.n_empty} are of empty responses")
        return f"{text} ({', '.join(parts)})"


def text_key(completion: Completion) -> bytes | None:
    """Return a digest of prompt and response; None without a response."""
    if not completion.response:
        return None
    text = f"{completion.prompt.strip()}\0{completion.response.strip()}"
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


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
        If there are none, or several judges and no name.
    """
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
    are matched by prompt and response.

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
    counts = dict.fromkeys(("id", "text", "other", "unmatched", "empty"), 0)
    for label in labels:
        found, how = _find(scored, by_id, by_text, label)
        if found is None:
            counts["unmatched"] += 1
            counts["other"] += how == "other"
        elif "empty" in scored[found].verdict.flags:
            counts["empty"] += 1
        elif found in rows:
            raise InputError(f"two labels of '{label.judge}' are of one completion (id {scored[found].verdict.id})")
        else:
            rows[found] = label
            counts[how] += 1
    return Matches(rows, counts["id"], counts["text"], counts["unmatched"], counts["other"], counts["empty"])


def _find(
    scored: Sequence[Scored], by_id: dict[str, list[int]], by_text: dict[bytes, list[int]], label: Label
) -> tuple[int | None, str]:
    text = text_key(label.completion)
    same_id = list(_compatible(scored, by_id.get(label.completion.id or "", ()), label.completion))
    found = [place for place in same_id if text is None or scored[place].text in (None, text)]
    if len(found) == 1:
        return found[0], "id"
    if text is not None:
        found = list(_compatible(scored, by_text.get(text, ()), label.completion))
        if len(found) == 1:
            return found[0], "text"
    return None, "other" if same_id and text is not None else ""


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
