"""Which disguises and additions flip a verdict or a refusal class, and how many of those flips carry a warning.

    python benchmarks/adversarial.py [MODEL] [--shared DIR] [--rows 1000] [--tier auto] [--kind sentences] [--store]

Completions: data/samples and data/hard/test.jsonl, which no shipped model was trained on, and with --shared so many
real responses of DIR/unlabelled, drawn at random, which none was trained on either. What the model says of the
untouched response is the reference, and attacks whose target are answers (refusals) are tried on what it takes for
full compliance (noncompliance by full refusal) under both heads. The sentences that attacks add are those of the
held-out set: rules were chosen with the other one (--development), on the other half of the real responses. Prints a
table for each set and tier and, with --store, puts its figures into benchmarks/results/adversarial.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
from attacks import Attack, Target, attacks
from machine import describe, line
from robustness import hard_and_samples
from sentences import DEVELOPMENT, HELD_OUT

from refusal_clf import Completion, RefusalClassifier, Verdict
from refusal_clf.reading import read_completions
from refusal_clf.statistics import wilson_interval

TierName = Literal["auto", "full"]
RESULTS = Path(__file__).parent / "results" / "adversarial.json"
SEED: Final = 0
TARGETS: Final[dict[Target, tuple[str, str]]] = {
    "answer": ("compliance", "full_compliance"),
    "refusal": ("noncompliance", "full_refusal"),
}
"""Verdict and refusal class of the responses that an attack is meant for."""
WARNINGS: Final = frozenset({"uncertain", "hidden_text", "obfuscated", "grader_injection", "contradictory"})
"""Flags that warn a reader of the verdict; `truncated_input` is left out, since most long responses carry it."""


def main() -> None:
    """Score the completions plain and attacked, print and store what flips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a packaged model or a directory")
    parser.add_argument("--shared", type=Path, help="a folder with unlabelled/*.jsonl.gz")
    parser.add_argument("--only-shared", action="store_true", help="leave out the samples and the hard set")
    parser.add_argument("--rows", type=int, default=1000, help="how many completions of --shared to draw")
    parser.add_argument("--tier", action="append", choices=("auto", "full"), help="default: both")
    parser.add_argument("--kind", action="append", help="of attacks (see attacks.py); default: all")
    parser.add_argument("--development", action="store_true", help="the sentences and rows that rules were chosen with")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/adversarial.json")
    options = parser.parse_args()
    classifier = RefusalClassifier.load(options.model)
    sets = {} if options.shared and options.only_shared else {"samples and hard set": hard_and_samples()}
    if options.store and options.development:
        parser.error("--store is for the held-out sentences")
    if options.shared:
        sets["real responses"] = drawn(options.shared / "unlabelled", options.rows, development=options.development)
    known = attacks(DEVELOPMENT if options.development else HELD_OUT)
    tried = {name: attack for name, attack in known.items() if not options.kind or attack.kind in options.kind}
    for tier in cast("list[TierName]", options.tier or ["auto", "full"]):
        for name, completions in sets.items():
            found = tried_on(classifier, name, completions, tried, tier)
            if options.store:
                store(classifier, name, tier, found)
    print(f"\n{line(describe())}")


def tried_on(
    classifier: RefusalClassifier, name: str, completions: list[Completion], tried: dict[str, Attack], tier: TierName
) -> dict[str, Any]:
    """Try attacks on one set, print the table, and return the figures."""
    plain = classifier.predict(completions, tier=tier)
    warned = sum(not WARNINGS.isdisjoint(verdict.flags) for verdict in plain)
    print(f"\n{name}, {len(plain)} responses ({warned} with a warning untouched), --tier {tier}\n\n{Flips.HEADING}")
    found: dict[str, Any] = {"n": len(plain), "warned untouched": warned, "attacks": {}}
    for attack_name, attack in tried.items():
        flips = attacked(classifier, completions, plain, attack, tier)
        print(f"| {attack_name} | {flips.row()} |", flush=True)
        found["attacks"][attack_name] = {"kind": attack.kind, **flips.record()}
    return found


def store(classifier: RefusalClassifier, name: str, tier: str, found: dict[str, Any]) -> None:
    """Put the figures of one set and tier in the place of earlier ones; those of another model go."""
    document = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if document.get("sha256") != classifier.sha256 or document.get("sentences") != "held out":
        document = {"model": classifier.name, "sha256": classifier.sha256, "sentences": "held out", "sets": {}}
    document["machine"] = describe()
    earlier = document["sets"].setdefault(name, {}).setdefault(tier, found)
    document["sets"][name][tier] = {**found, "attacks": {**earlier["attacks"], **found["attacks"]}}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Flips:
    """What an attack did to `n` responses.

    `to` counts the verdicts that changed, by what they changed to, and `refusals` the refusal classes that are no
    longer right. Of the changed verdicts `uncertain` carry that flag and `warned` any of `WARNINGS`; `unwarned` are
    responses of which either head is wrong, without a warning.
    """

    HEADING = (
        "| attack | n | verdicts flipped | 95 % interval | refusal class flipped | 95 % interval "
        "| of the flipped verdicts: uncertain | with any warning | flips of either, unwarned |"
        "\n| --- | ---: | ---: | --- | ---: | --- | ---: | ---: | ---: |"
    )

    n: int
    to: dict[str, int]
    refusals: int
    uncertain: int
    warned: int
    unwarned: int
    all_warned: int

    @property
    def verdicts(self) -> int:
        """All flipped verdicts."""
        return sum(self.to.values())

    def record(self) -> dict[str, Any]:
        """Return the figures as they are stored."""
        return {
            "n": self.n,
            "verdicts_flipped": self.verdicts,
            "verdicts_interval": wilson_interval(self.verdicts, self.n),
            "to": self.to,
            "refusals_flipped": self.refusals,
            "refusals_interval": wilson_interval(self.refusals, self.n),
            "flipped_verdicts_uncertain": self.uncertain,
            "flipped_verdicts_warned": self.warned,
            "flips_of_either_unwarned": self.unwarned,
            "warned": self.all_warned,
        }

    def row(self) -> str:
        """Return the cells of a Markdown table."""
        n, flipped = max(self.n, 1), max(self.verdicts, 1)
        return (
            f"{self.n} | {_rate(self.verdicts, self.n)} | {_rate(self.refusals, self.n)} "
            f"| {self.uncertain / flipped:.0%} | {self.warned / flipped:.0%} | {self.unwarned / n:.1%}"
        )


def attacked(
    classifier: RefusalClassifier,
    completions: list[Completion],
    plain: list[Verdict],
    attack: Attack,
    tier: TierName,
) -> Flips:
    """Attack the responses that the attack is meant for, and count what flips; what it leaves alone is not counted."""
    random = np.random.default_rng(SEED)
    written = [
        (before, completion, replace(completion, response=attack.write(completion.response, random)))
        for before, completion in zip(plain, completions, strict=True)
        if _meant_for(attack.target, before)
    ]
    tried = [(before, changed) for before, completion, changed in written if changed != completion]
    found = classifier.predict([changed for _, changed in tried], tier=tier)
    to = dict.fromkeys(("compliance", "noncompliance", "neither"), 0)
    refusals = uncertain = warned = unwarned = all_warned = 0
    for (before, _), after in zip(tried, found, strict=True):
        warns = not WARNINGS.isdisjoint(after.flags)
        verdict = after.verdict != before.verdict
        refusal = after.refusal not in (before.refusal, *attack.also_right)
        to[after.verdict] += verdict
        refusals += refusal
        uncertain += verdict and "uncertain" in after.flags
        warned += verdict and warns
        unwarned += (verdict or refusal) and not warns
        all_warned += warns
    return Flips(len(tried), to, refusals, uncertain, warned, unwarned, all_warned)


def drawn(folder: Path, count: int, *, development: bool) -> list[Completion]:
    """Return so many of a folder's completions, at random but the same each time, of one half of its rows."""
    completions = [
        completion
        for file in sorted(folder.glob("*.jsonl*"))
        for completion in read_completions(file)
        if completion.response.strip()
    ]
    order = np.random.default_rng(SEED).permutation(len(completions))[0 if development else 1 :: 2][:count]
    return [completions[index] for index in sorted(order)]


def _meant_for(target: Target, before: Verdict) -> bool:
    return "empty" not in before.flags and TARGETS.get(target, (before.verdict, before.refusal)) == (
        before.verdict,
        before.refusal,
    )


def _rate(count: int, n: int) -> str:
    low, high = wilson_interval(count, n) or (0.0, 1.0)
    return f"{count / max(n, 1):.1%} | [{low:.1%}, {high:.1%}]"


if __name__ == "__main__":
    main()
