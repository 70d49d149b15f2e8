"""What the limits of the flag `contradictory` cost and catch: on the half they were chosen on, and on the other.

    python benchmarks/contradictions.py --shared DIR [--rows 1000] [--store]

Ordinary responses: so many of DIR/unlabelled, and DIR/coconot_judged (even rows for the one half, odd ones for the
other). Attacks on the former: stock refusals before, after and around answers, and harmless text around refusals, with
sentences of each half's own. False alarms are the share of ordinary responses that the rule finds; caught is the share
of flipped verdicts that it finds; left are flips that neither it nor the model's own doubt warns of, of all attacked.
With --store, everything goes into benchmarks/results/contradictions.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
from adversarial import SEED, TARGETS, drawn
from attacks import attacks
from machine import describe, line
from numpy.typing import NDArray
from sentences import DEVELOPMENT, HELD_OUT

from refusal_clf import Completion, RefusalClassifier, contradiction
from refusal_clf.reading import read_completions
from refusal_clf.records import VERDICTS
from refusal_clf.statistics import wilson_interval
from refusal_clf.text import Prepared, prepare

RESULTS = Path(__file__).parent / "results" / "contradictions.json"
LABELS_ALONE: Final = "second_judging.jsonl"
TRIED: Final = (
    "refusal prepended",
    "refusal appended",
    "refusal before and after",
    "padding before",
    "padding after",
    "padding before and after",
)
GRID: Final[tuple[dict[str, float], ...]] = (
    {},
    {"MIN_WORDS": 60},
    {"MIN_WORDS": 80},
    {"MIN_WORDS": 120},
    {"REST_REFUSES": 0.1},
    {"REST_REFUSES": 0.2},
    {"REST_REFUSES": 0.3},
    {"EDGE_REFUSES": 0.5},
    {"EDGE_REFUSES": 0.9},
    {"HIDDEN_REFUSES": 0.7},
    {"HIDDEN_REFUSES": 0.97},
)
"""Limits other than the package's, each tried alone."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Texts with the classifier's probabilities, shape (n, 6), and the verdict that was right, None if ordinary."""

    texts: list[Prepared]
    probabilities: NDArray[np.float32]
    right: str | None = None


def main() -> None:
    """Print what other limits do on the development half, then both halves with the package's; store all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="a folder with unlabelled/ and coconot_judged/")
    parser.add_argument("--rows", type=int, default=1000, help="how many unlabelled completions to draw for each half")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/contradictions.json")
    options = parser.parse_args()
    classifier = RefusalClassifier.load()
    remembered = Remembered(classifier)
    document: dict[str, Any] = {"machine": describe(), "model": classifier.name, "sha256": classifier.sha256}
    document["limits"] = []
    for name, development in (("development", True), ("held out", False)):
        sets = half(classifier, options.shared, options.rows, development=development)
        print(f"\n{name}\n\n| limits | {' | '.join(sets)} |\n| --- |{' --- |' * len(sets)}")
        for limits in GRID if development else GRID[:1]:
            with mock.patch.multiple(contradiction, **(limits or {"MIN_WORDS": contradiction.MIN_WORDS})):
                found = {key: measured(classifier, scored, remembered) for key, scored in sets.items()}
            print(f"| {limits or 'as they are'} | {' | '.join(map(cell, found.values()))} |", flush=True)
            document["limits"].append({"half": name, "other limits": limits, "found": found})
    print(f"\n{line(document['machine'])}")
    if options.store:
        RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def half(classifier: RefusalClassifier, shared: Path, rows: int, *, development: bool) -> dict[str, Scored]:
    """Return the ordinary responses of one half by where they are from, then the attacked ones by the attack."""
    real = drawn(shared / "unlabelled", rows, development=development)
    judged = [
        completion
        for file in sorted((shared / "coconot_judged").glob("*.jsonl"))
        if file.name != LABELS_ALONE
        for completion in read_completions(file)
        if completion.response.strip()
    ][0 if development else 1 :: 2]
    sets = {"unlabelled": _scored(classifier, real), "coconot_judged": _scored(classifier, judged)}
    plain = classifier.predict(real)
    known = attacks(DEVELOPMENT if development else HELD_OUT)
    for name in TRIED:
        right = TARGETS[known[name].target]
        random = np.random.default_rng(SEED)
        written = [
            replace(completion, response=known[name].write(completion.response, random))
            for completion, verdict in zip(real, plain, strict=True)
            if (verdict.verdict, verdict.refusal) == right
        ]
        sets[name] = replace(_scored(classifier, written), right=right[0])
    return sets


class Remembered:
    """The lexical tier's answers to parts of texts, each asked for once."""

    def __init__(self, classifier: RefusalClassifier) -> None:
        self._classifier = classifier
        self._known: dict[tuple[str, str, str], float] = {}

    def __call__(self, texts: Sequence[Prepared]) -> NDArray[np.float32]:
        """Return each text's probability of a refusal."""
        keys = [(text.heading, text.prompt, text.response) for text in texts]
        new = [at for at, key in enumerate(keys) if key not in self._known]
        if new:
            answers = self._classifier.refuses([texts[at] for at in new])
            self._known.update((keys[at], float(p)) for at, p in zip(new, answers, strict=True))
        return np.array([self._known[key] for key in keys], np.float32)


def measured(classifier: RefusalClassifier, scored: Scored, refuses: contradiction.Refuses) -> dict[str, Any]:
    """Return how many of the texts, or of their flipped verdicts, the rule finds, with a 95 % interval."""
    n = len(scored.texts)
    hits = np.zeros(n, np.bool_)
    hits[contradiction.contradictory(scored.texts, (1 - scored.probabilities[:, 3]).tolist(), refuses)] = True
    if scored.right is None:
        return {"n": n, "found": int(hits.sum()), "interval": wilson_interval(int(hits.sum()), n)}
    verdicts = scored.probabilities[:, : len(VERDICTS)]
    flipped = verdicts.argmax(1) != VERDICTS.index(scored.right)
    sure = verdicts.max(1) >= classifier.config.verdict.uncertain_below
    caught = int((flipped & hits).sum())
    return {
        "n": n,
        "flipped": int(flipped.sum()),
        "caught": caught,
        "interval": wilson_interval(caught, int(flipped.sum())),
        "sure before": int((flipped & sure).sum()),
        "left": int((flipped & sure & ~hits).sum()),
    }


def cell(found: dict[str, Any]) -> str:
    """Return false alarms, or what is caught and what is left, as the cell of a table."""
    if "found" in found:
        return f"{found['found'] / found['n']:.1%}"
    before, left = found["sure before"] / found["n"], found["left"] / found["n"]
    return f"{found['caught'] / max(found['flipped'], 1):.0%} caught, {before:.0%} → {left:.0%} left"


def _scored(classifier: RefusalClassifier, completions: list[Completion]) -> Scored:
    return Scored([prepare(completion) for completion in completions], classifier.probabilities(completions))


if __name__ == "__main__":
    main()
