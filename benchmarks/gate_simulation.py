"""How often the gate fails an unchanged model, how often it notices a changed one, and what a reward costs.

    python benchmarks/gate_simulation.py [--pairs 1000]

Two runs of one model differ because decoding is random: each prompt has its own chance of compliance (a U-shaped beta
distribution around the rate, which lets about one verdict in ten change from run to run), and each run draws from it.
A true change raises or lowers those chances. Sizes and categories are CoCoNot's: 1,001 is `original`, 379 `contrast`,
100 a sample of it. Prints a table, and writes benchmarks/results/gate_simulation.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from refusal_clf import RefusalClassifier
from refusal_clf.gate import Rules, check
from refusal_clf.integrations.trl import make_refusal_reward
from refusal_clf.pairing import Item, Pair
from refusal_clf.reading import read_completions
from refusal_clf.records import Verdict
from refusal_clf.rubrics import CATEGORIES, HUMANIZING, INCOMPLETE, INDETERMINATE, SAFETY, UNSUPPORTED
from refusal_clf.statistics import wilson_interval

sys.path.insert(0, str(Path(__file__).parent))
from machine import describe, line

RESULTS = Path(__file__).parent / "results" / "gate_simulation.json"
SAMPLES = Path(__file__).parents[1] / "data" / "samples" / "completions.jsonl"
DESIGNS = {
    100: ("contrast", 0.9, {INCOMPLETE: 39, UNSUPPORTED: 22, SAFETY: 39}),
    379: ("contrast", 0.9, {INCOMPLETE: 148, UNSUPPORTED: 82, SAFETY: 149}),
    1001: (
        "original",
        0.3,
        {INCOMPLETE: 225, INDETERMINATE: 142, UNSUPPORTED: 157, HUMANIZING: 82, SAFETY: 395},
    ),
}
CONCENTRATION = 0.6
"""Of the beta distribution: the share of verdicts that change from run to run is 2 rate (1 - rate) c / (1 + c)."""
CHANGES = (0.0, 0.05, 0.1)
REWARDS = 2000


def main() -> None:
    """Simulate every size and change, time the reward, print and store both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="simulated pairs of runs for each figure")
    options = parser.parse_args()
    rows = [
        simulate(n, change, options.pairs, tolerated)
        for n in DESIGNS
        for change in CHANGES
        for tolerated in ((0.0, 0.02) if change == 0 else (0.02,))
    ]
    print("| items | true change, points | tolerated, points | gate fails, % | 95 % interval | change of verdicts, % |")
    print("| ---: | ---: | ---: | ---: | --- | ---: |")
    for row in rows:
        interval = f"[{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
        change, tolerated, failed, moved = (100 * row[name] for name in ("change", "tolerated", "failed", "changing"))
        print(f"| {row['items']:,} | {change:.0f} | {tolerated:.0f} | {failed:.1f} | {interval} | {moved:.1f} |")
    reward = time_reward()
    print(
        f"\nreward, fast tier, batches of {reward['batch']}: {reward['cpu_milliseconds']:.2f} ms of processor time a "
        f"completion ({reward['milliseconds']:.2f} ms by the clock)"
    )
    machine = describe()
    print(line(machine))
    RESULTS.parent.mkdir(exist_ok=True)
    document = {"machine": machine, "pairs": options.pairs, "gate": rows, "reward": reward}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def simulate(n: int, change: float, pairs: int, tolerated: float) -> dict[str, Any]:
    """Return how many of the simulated pairs of runs fail, with what went into them."""
    subset, rate, sizes = DESIGNS[n]
    random = np.random.default_rng((n, round(1000 * change)))
    categories = [category for category in CATEGORIES for _ in range(sizes.get(category, 0))]
    rules = Rules(max_noncompliance_drop=tolerated, max_overrefusal_rise=tolerated)
    # Index 0 did not comply, 1 did.
    items = [
        [item(k, subset, category, complied) for complied in (False, True)] for k, category in enumerate(categories)
    ]
    failed = changing = 0
    for _ in range(pairs):
        chance = random.beta(rate * CONCENTRATION, (1 - rate) * CONCENTRATION, n)
        # The wrong way: more compliance on `original`, less on `contrast`, by `change` on average.
        moved = chance + change * (1 - chance) / (1 - rate) if subset == "original" else chance * (1 - change / rate)
        before, after = random.random(n) < chance, random.random(n) < moved
        found = [
            Pair(both[old], both[new]) for both, old, new in zip(items, before.tolist(), after.tolist(), strict=True)
        ]
        failed += not check(found, rules).passed
        changing += int((before != after).sum())
    low, high = wilson_interval(failed, pairs) or (0.0, 1.0)
    return {
        "items": n,
        "subset": subset,
        "change": change,
        "tolerated": tolerated,
        "failed": failed / pairs,
        "ci_low": low,
        "ci_high": high,
        "changing": changing / (pairs * n),
    }


def item(number: int, subset: str, category: str, complied: bool) -> Item:
    """Return an item with one of the two verdicts that count here."""
    verdict, p = ("compliance", 0.1) if complied else ("noncompliance", 0.9)
    return Item(Verdict(str(number), "coconot", subset, category, None, None, verdict, p, None, None, "full"))


def time_reward(batch: int = 64) -> dict[str, Any]:
    """Return the median time of the first tier's reward, over batches of the project's own samples."""
    rows = list(read_completions(SAMPLES))
    reward = make_refusal_reward(RefusalClassifier.load())
    times, processor = [], []
    for start in range(0, REWARDS, batch):
        chosen = [rows[index % len(rows)] for index in range(start, start + batch)]
        columns = {"subset": [row.subset for row in chosen], "subcategory": [row.subcategory for row in chosen]}
        began, worked = time.perf_counter(), time.thread_time()
        reward([row.prompt for row in chosen], [row.response for row in chosen], **columns)
        times.append((time.perf_counter() - began) / batch)
        processor.append((time.thread_time() - worked) / batch)
    # The first batch loads the model; the clock also counts what else the machine was doing.
    by_clock, worked = (1000 * float(np.median(values[1:])) for values in (times, processor))
    return {"milliseconds": by_clock, "cpu_milliseconds": worked, "batch": batch, "completions": REWARDS}


if __name__ == "__main__":
    main()
