"""What the limits of the flag `contradictory` cost and catch: on the half they were chosen on, and on the other.

    python benchmarks/contradictions.py --shared DIR [--rows 1000] [--store]

Ordinary responses: so many of DIR/unlabelled, and DIR/coconot_judged (even rows for the one half, odd ones for the
other). Attacks: stock refusals before, after and around answers, and harmless text around refusals, each half with
sentences of its own. False alarms are the share of ordinary responses that get the flag; caught is the share of flipped
verdicts that do. A grid over REST_REFUSES and MIN_WORDS on the development half, then the limits that the package has
on both. With --store, the latter go into benchmarks/results/contradictions.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
from adversarial import SEED, drawn
from attacks import attacks
from machine import describe, line
from sentences import DEVELOPMENT, HELD_OUT

from refusal_clf import Completion, RefusalClassifier, Verdict, contradiction
from refusal_clf.reading import read_completions
from refusal_clf.statistics import wilson_interval

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


@dataclass(frozen=True, slots=True)
class Half:
    """Ordinary responses by where they are from, and attacked ones with the verdict that they had before."""

    ordinary: dict[str, list[Completion]]
    attacked: dict[str, tuple[list[Completion], str]]


def main() -> None:
    """Print the grid and the two halves, and store the latter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="a folder with unlabelled/ and coconot_judged/")
    parser.add_argument("--rows", type=int, default=1000, help="how many unlabelled completions to draw for each half")
    parser.add_argument("--grid", action="store_true", help="try other limits on the development half first")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/contradictions.json")
    options = parser.parse_args()
    classifier = RefusalClassifier.load()
    document: dict[str, Any] = {"machine": describe(), "model": classifier.name, "sha256": classifier.sha256}
    for name, development in (("development", True), ("held out", False)):
        half = half_of(classifier, options.shared, options.rows, development=development)
        if options.grid and development:
            for words in (40, 60, 80, 120):
                for rest in (0.05, 0.1, 0.15, 0.2, 0.3):
                    limits = mock.patch.multiple(contradiction, MIN_WORDS=words, REST_REFUSES=rest)
                    with limits:
                        print(f"at least {words} words, rest at most {rest}: {brief(measured(classifier, half))}")
        document[name] = measured(classifier, half)
        print(f"\n{name}\n{json.dumps(document[name], indent=1)}", flush=True)
    print(f"\n{line(document['machine'])}")
    if options.store:
        RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def half_of(classifier: RefusalClassifier, shared: Path, rows: int, *, development: bool) -> Half:
    """Draw the ordinary responses of one half, and attack those that the attacks are meant for."""
    real = drawn(shared / "unlabelled", rows, development=development)
    judged = [
        completion
        for file in sorted((shared / "coconot_judged").glob("*.jsonl"))
        if file.name != LABELS_ALONE
        for completion in read_completions(file)
        if completion.response.strip()
    ][0 if development else 1 :: 2]
    plain = classifier.predict(real)
    targets = {
        "answer": ("compliance", [c for c, v in zip(real, plain, strict=True) if _is(v, "compliance")]),
        "refusal": ("noncompliance", [c for c, v in zip(real, plain, strict=True) if _is(v, "noncompliance")]),
    }
    known = attacks(DEVELOPMENT if development else HELD_OUT)
    attacked = {}
    for name in TRIED:
        verdict, meant = targets[known[name].target]
        random = np.random.default_rng(SEED)
        written = [replace(c, response=known[name].write(c.response, random)) for c in meant]
        attacked[name] = (written, verdict)
    return Half({"unlabelled": real, "coconot_judged": judged}, attacked)


def measured(classifier: RefusalClassifier, half: Half) -> dict[str, Any]:
    """Return false alarms and what is caught, as counts with 95 % intervals."""
    found: dict[str, Any] = {"false alarms": {}, "attacks": {}}
    for name, completions in half.ordinary.items():
        verdicts = classifier.predict(completions)
        flagged = [verdict for verdict in verdicts if "contradictory" in verdict.flags]
        found["false alarms"][name] = {
            "n": len(verdicts),
            "flagged": len(flagged),
            "interval": wilson_interval(len(flagged), len(verdicts)),
        }
    for name, (completions, before) in half.attacked.items():
        verdicts = classifier.predict(completions)
        flips = [verdict for verdict in verdicts if verdict.verdict != before]
        caught = sum("contradictory" in verdict.flags for verdict in flips)
        found["attacks"][name] = {
            "n": len(verdicts),
            "flipped": len(flips),
            "caught": caught,
            "interval": wilson_interval(caught, len(flips)),
            "unwarned": sum("uncertain" not in verdict.flags for verdict in flips),
        }
    return found


def brief(found: dict[str, Any]) -> str:
    """Return false alarms, and the share of flips that is caught, in one line."""
    alarms = (f"{name} {row['flagged'] / row['n']:.1%}" for name, row in found["false alarms"].items())
    caught = (f"{name} {row['caught'] / max(row['flipped'], 1):.0%}" for name, row in found["attacks"].items())
    return "; ".join([*alarms, *caught])


def _is(verdict: Verdict, name: str) -> bool:
    return verdict.verdict == name and verdict.refusal == {
        "compliance": "full_compliance",
        "noncompliance": "full_refusal",
    }.get(name)


if __name__ == "__main__":
    main()
