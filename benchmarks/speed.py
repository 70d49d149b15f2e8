"""Speed and memory of our tiers beside the architectures of three refusal detectors, on the same real rows.

    python benchmarks/speed.py FILE [--rows 1000] [--rows-of-peers 40] [--repeats 3]

FILE holds completions. Every measurement is a new process, one after another, the repeats interleaved, so that a
machine that grows warm or busy does so for all of them alike. In each:

- start-up: from the start of the process to its first verdict;
- throughput: `--rows` rows of FILE, drawn once, in one call as the project would make it; the peers, which judge one
  text after another, so that their rate does not depend on how many there are, get the first `--rows-of-peers`;
- latency: single calls with `--single` of these rows (of the peers', at most as many), median and 99th percentile;
- peak resident memory of the process.

`contenders.py` says what runs how. Prints a table of medians and the ratios to our tiers with their range over the
repeats, writes benchmarks/results/speed.json and draws benchmarks/results/speed.light.svg and .dark.svg; `--draw`
only draws what was stored. Needs the extras `train` and `plots`, the package onnxscript, and 2.5 GB in `--models`,
where the others' random weights are kept. On two cores, allow ten minutes a repeat.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from contenders import CONTENDERS, Contender, load, mean_tokens, prepare
from machine import describe, line, peak_mib

from refusal_clf import Completion
from refusal_clf.reading import read_completions

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plot import Theme

RESULTS = Path(__file__).parent / "results" / "speed.json"
FIRST = Completion(prompt="What is your favourite film?", response="I have none of my own, but many love Casablanca.")
"""One about which `auto` asks the encoder, so that loading it is start-up there, as it is with the others."""
FIGURES = ("startup_seconds", "rows_per_second", "latency_ms", "p99_ms", "peak_mib")


def main() -> None:
    """Run every contender in turn, print, store and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="completions, such as a model's responses to CoCoNot")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rows-of-peers", type=int, default=40)
    parser.add_argument("--single", type=int, default=200)
    parser.add_argument("--single-of-peers", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", type=Path, default=Path("runs/speed"))
    parser.add_argument("--draw", action="store_true", help="only draw the stored figures again")
    parser.add_argument("--contender", choices=[one.kind for one in CONTENDERS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        be(next(one for one in CONTENDERS if one.kind == options.contender), options)
        return
    if not options.draw:
        if options.file is None:
            parser.error("FILE is needed, but for --draw")
        RESULTS.write_text(json.dumps(compare(options), indent=2) + "\n", encoding="utf-8")
    from plot import draw

    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    for path in draw(RESULTS.with_suffix(""), lambda theme: figure(stored["contenders"], theme)):
        print(f"wrote {path}")


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and return them as a document."""
    for contender in CONTENDERS:
        prepare(contender, options.models / contender.kind)
    runs: dict[str, list[dict[str, float]]] = {contender.kind: [] for contender in CONTENDERS}
    for repeat in range(options.repeats):
        for contender in CONTENDERS:
            runs[contender.kind].append(measure(contender))
            print(f"repeat {repeat + 1}, {contender.name}: {runs[contender.kind][-1]}", file=sys.stderr)
    sample = draw_rows(options.file, options.rows)
    rows = [row(contender, runs[contender.kind], sample) for contender in CONTENDERS]
    versions = {name: version(name) for name in ("torch", "transformers")}
    document = {
        "machine": describe() | versions,
        "rows": len(sample),
        "rows_of_peers": options.rows_of_peers,
        "single_calls": min(options.single, len(sample)),
        "repeats": options.repeats,
        "contenders": rows,
        "times_faster": times_faster(runs),
    }
    print_tables(document)
    return document


def measure(contender: Contender) -> dict[str, float]:
    """Start a process that is one contender, with this process's own arguments, and return what it took."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *sys.argv, "--contender", contender.kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    startup = time.perf_counter() - started
    found = process.stdout.read()
    if process.wait() or ready != "ready\n":
        raise SystemExit(f"{contender.name} failed: python {' '.join(sys.argv)} --contender {contender.kind} says why")
    return {"startup_seconds": round(startup, 3), **json.loads(found)}


def be(contender: Contender, options: argparse.Namespace) -> None:
    """Answer once, say so, then time the rows: all in one call, then single ones."""
    judge = load(contender, options.models / contender.kind)
    answer = judge([FIRST])
    if contender.kind == "auto" and answer[0].tier != "full":
        raise SystemExit("the first tier is sure of the first completion; choose another")
    print("ready", flush=True)
    sample = draw_rows(options.file, options.rows if contender.ours else options.rows_of_peers)
    started = time.perf_counter()
    judge(sample)
    seconds = time.perf_counter() - started
    single = []
    for completion in sample[: options.single if contender.ours else options.single_of_peers]:
        started = time.perf_counter()
        judge([completion])
        single.append(1000 * (time.perf_counter() - started))
    figures = {
        "rows_per_second": round(len(sample) / seconds, 2),
        "latency_ms": round(statistics.median(single), 2),
        "p99_ms": round(float(np.percentile(single, 99)), 2),
        "peak_mib": round(peak_mib(), 1),
    }
    print(json.dumps(figures))


def draw_rows(file: Path, count: int) -> list[Completion]:
    """Return the same random rows in every process."""
    rows = list(read_completions(file))
    chosen = np.random.default_rng(0).permutation(len(rows))[:count]
    return [rows[index] for index in chosen]


def row(contender: Contender, runs: list[dict[str, float]], sample: list[Completion]) -> dict[str, Any]:
    """Return one contender's figures: median, least and most over the repeats."""
    figures = {
        name: {
            "median": statistics.median(run[name] for run in runs),
            "min": min(run[name] for run in runs),
            "max": max(run[name] for run in runs),
        }
        for name in FIGURES
    }
    return {
        "kind": contender.kind,
        "name": contender.name,
        "ours": contender.ours,
        "runtime": contender.runtime,
        "reads": contender.reads,
        "max_tokens": contender.tokens,
        "mean_tokens": None if contender.ours else round(mean_tokens(contender, sample), 1),
        **figures,
    }


def times_faster(runs: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Return how many times a peer's rows a second each of our tiers does, repeat by repeat."""
    found = []
    for peer in (contender for contender in CONTENDERS if not contender.ours):
        for tier in (contender for contender in CONTENDERS if contender.ours):
            pairs = zip(runs[tier.kind], runs[peer.kind], strict=True)
            ratios = [ours["rows_per_second"] / theirs["rows_per_second"] for ours, theirs in pairs]
            values = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
            found.append(
                {"peer": peer.name, "tier": tier.kind, **{name: round(value, 2) for name, value in values.items()}}
            )
    return found


def print_tables(document: dict[str, Any]) -> None:
    """Print both tables and the machine."""
    print("| what | runtime | tokens read | rows/s | one: median, ms | one: p99, ms | start-up, s | peak MiB |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for one in document["contenders"]:
        tokens = f"{one['mean_tokens']:.0f} of at most {one['max_tokens']}" if one["mean_tokens"] else "its own budget"
        cells = (
            f"{one['rows_per_second']['median']:,.1f} [{one['rows_per_second']['min']:,.1f}, "
            f"{one['rows_per_second']['max']:,.1f}]",
            f"{one['latency_ms']['median']:,.1f}",
            f"{one['p99_ms']['median']:,.1f}",
            f"{one['startup_seconds']['median']:.2f}",
            f"{one['peak_mib']['median']:,.0f}",
        )
        print(f"| {one['name']} | {one['runtime']} | {tokens} | {' | '.join(cells)} |")
    print("\n| rows/s, times those of | fast | auto | full |\n| --- | ---: | ---: | ---: |")
    ratios = {(one["peer"], one["tier"]): one for one in document["times_faster"]}
    for peer in dict.fromkeys(peer for peer, _ in ratios):
        cells = [
            "{median:.1f} [{min:.1f}, {max:.1f}]".format(**ratios[peer, tier]) for tier in ("fast", "auto", "full")
        ]
        print(f"| {peer} | {' | '.join(cells)} |")
    print(
        f"\n{document['rows']} rows, {document['single_calls']} single calls, medians of {document['repeats']} runs "
        f"[least, most]; {line(document['machine'])}"
    )


def figure(rows: list[dict[str, Any]], theme: Theme) -> Figure:
    """Draw throughput, latency and memory: points at the medians, lines from the least to the most.

    Points and not bars, since the first two axes are logarithmic and have no zero for bars to stand on.
    """
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator

    panels = (
        ("rows_per_second", "Rows a second\n(more is better)", True),
        ("latency_ms", "One response, ms\n(less is better)", True),
        ("peak_mib", "Peak memory, MiB\n(less is better)", False),
    )
    drawn, grid = plt.subplots(1, len(panels), figsize=(9.2, 2.9), sharey=True, layout="constrained")
    for axes, (name, title, logarithmic) in zip(grid, panels, strict=True):
        for height, one in enumerate(reversed(rows)):
            color = theme.ours[1] if one["ours"] else theme.others
            value = one[name]["median"]
            axes.plot([one[name]["min"], one[name]["max"]], [height, height], color=color, linewidth=2)
            axes.plot(value, height, "o", color=color, markersize=6)
            label = f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
            axes.annotate(label, (value, height), (0, 6), textcoords="offset points", ha="center", fontsize=9)
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(10))
        else:
            axes.set_xlim(0, 1.18 * max(one[name]["max"] for one in rows))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.set_title(title)
        axes.margins(x=0.18)
        axes.minorticks_off()
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    grid[0].set_yticks(range(len(rows)), [one["name"] for one in reversed(rows)])
    grid[0].set_ylim(-0.5, len(rows) - 0.3)
    return drawn


if __name__ == "__main__":
    main()
