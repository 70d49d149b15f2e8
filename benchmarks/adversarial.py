"""Which disguises and additions flip a verdict, and how many of those flips carry a flag.

    python benchmarks/adversarial.py [MODEL] [--shared DIR] [--rows 400] [--store]

Completions: data/samples and data/hard/test.jsonl, neither of which a shipped model was trained on, and with --shared
as many rows as --rows says of real responses to CoCoNot and XSTest, drawn at random: those the shipped model knows, so
that theirs are the better rates. The verdict on the untouched response is the reference. Prints a table for each tier
and, with --store, writes benchmarks/results/adversarial.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from attacks import ATTACKS, Attack
from machine import describe, line
from robustness import hard_and_samples

from refusal_clf import Completion, RefusalClassifier, Verdict
from refusal_clf.reading import read_completions
from refusal_clf.statistics import wilson_interval

RESULTS = Path(__file__).parent / "results" / "adversarial.json"
SHARED: Final = ("coconot_judged", "xstest")
LABELS_ALONE: Final = "second_judging.jsonl"
TIERS: Final[tuple[Literal["auto", "full"], ...]] = ("auto", "full")
WARNINGS: Final = frozenset({"uncertain", "truncated_input", "hidden_text", "obfuscated", "grader_injection"})
"""Flags that warn a reader of the verdict."""


def main() -> None:
    """Score the completions plain and attacked, print and store what flips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a packaged model or a directory")
    parser.add_argument("--shared", type=Path, help="a folder with coconot_judged/ and xstest/")
    parser.add_argument("--rows", type=int, default=400, help="how many completions of --shared to draw")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/adversarial.json")
    options = parser.parse_args()
    classifier = RefusalClassifier.load(options.model)
    sets = {"samples and hard set": hard_and_samples()}
    if options.shared:
        sets["real responses"] = drawn(options.shared, options.rows)
    document: dict[str, Any] = {"machine": describe(), "model": classifier.name, "sha256": classifier.sha256}
    document["sets"] = {}
    for name, completions in sets.items():
        document["sets"][name] = found = {}
        for tier in TIERS:
            print(f"\n{name}, {len(completions)} responses, --tier {tier}\n\n{Flips.HEADING}")
            found[tier] = {}
            plain = classifier.predict(completions, tier=tier)
            for attack_name, attack in ATTACKS.items():
                flips = attacked(classifier, completions, plain, attack, tier)
                print(f"| {attack_name} | {flips.row()} |", flush=True)
                found[tier][attack_name] = flips.record()
    print(f"\n{line(document['machine'])}")
    if options.store:
        RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Flips:
    """What an attack did: of `n` verdicts, which turned into which, and how many of those without a warning."""

    HEADING = (
        "| attack | n | flips | 95 % interval | to compliance | to noncompliance | to neither | without a flag "
        "| flagged |"
        "\n| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    )

    n: int
    to: dict[str, int]
    unflagged: int
    flagged: int

    @property
    def total(self) -> int:
        """All flips."""
        return sum(self.to.values())

    def record(self) -> dict[str, Any]:
        """Return the figures as they are stored."""
        low, high = wilson_interval(self.total, self.n) or (None, None)
        return {
            "n": self.n,
            "flips": self.total,
            "ci_low": low,
            "ci_high": high,
            "to": self.to,
            "flips_without_a_flag": self.unflagged,
            "flagged": self.flagged,
        }

    def row(self) -> str:
        """Return the cells of a Markdown table."""
        low, high = wilson_interval(self.total, self.n) or (0.0, 1.0)
        n = max(self.n, 1)
        to = " | ".join(str(self.to[name]) for name in ("compliance", "noncompliance", "neither"))
        return (
            f"{self.n} | {self.total / n:.1%} | [{low:.1%}, {high:.1%}] | {to} | {self.unflagged / n:.1%} "
            f"| {self.flagged / n:.1%}"
        )


def attacked(
    classifier: RefusalClassifier,
    completions: list[Completion],
    plain: list[Verdict],
    attack: Attack,
    tier: Literal["auto", "full"],
) -> Flips:
    """Attack the responses that the attack is meant for, and count what flips."""
    random = np.random.default_rng(0)
    chosen = [index for index, verdict in enumerate(plain) if attack.target in ("any", verdict.verdict)]
    changed = [
        replace(completions[index], response=attack.write(completions[index].response, random)) for index in chosen
    ]
    found = classifier.predict(changed, tier=tier)
    to = dict.fromkeys(("compliance", "noncompliance", "neither"), 0)
    unflagged = 0
    for index, verdict in zip(chosen, found, strict=True):
        if verdict.verdict != plain[index].verdict:
            to[verdict.verdict] += 1
            unflagged += WARNINGS.isdisjoint(verdict.flags)
    return Flips(len(chosen), to, unflagged, sum(not WARNINGS.isdisjoint(verdict.flags) for verdict in found))


def drawn(folder: Path, count: int) -> list[Completion]:
    """Return so many of the folder's completions, at random but the same each time."""
    completions = list(_shared(folder))
    order = np.random.default_rng(0).permutation(len(completions))[:count]
    return [completions[index] for index in sorted(order)]


def _shared(folder: Path) -> Iterator[Completion]:
    for name in SHARED:
        for file in sorted((folder / name).glob("*.jsonl")):
            if file.name != LABELS_ALONE:
                yield from (completion for completion in read_completions(file) if completion.response.strip())


if __name__ == "__main__":
    main()
