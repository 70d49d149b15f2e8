"""Time and peak memory of `refusal-clf score` against the number of rows, from a thousand to a million.

    python benchmarks/scale.py FILE [--largest 1000000] [--tiers auto fast]

FILE holds completions as JSON lines. Its rows are repeated, each under an id of its own and with its number behind its
response, so that no two rows are equal and nothing can be answered from an earlier one. Every run is a new process of
the installed command with `--out`. Seconds of the processors are stored beside those of the clock, which other work on
the machine lengthens. Prints a table, writes benchmarks/results/scale.json and draws
benchmarks/results/scale.light.svg and .dark.svg; `--draw` only draws what was stored. On two cores, allow an hour.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from first_run import command, measure
from machine import describe, line

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plot import Theme

RESULTS = Path(__file__).parent / "results" / "scale.json"
MILLION = 1_000_000
SIZES = (1_000, 10_000, 100_000, MILLION)


def main() -> None:
    """Run every size and tier, print, store and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="completions, such as a model's responses to CoCoNot")
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="leave out the sizes above it")
    parser.add_argument("--tiers", nargs="+", default=["auto", "fast"], choices=("auto", "fast", "full"))
    parser.add_argument("--draw", action="store_true", help="only draw the stored figures again")
    options = parser.parse_args()
    if not options.draw:
        if options.file is None:
            parser.error("FILE is needed, but for --draw")
        found: list[dict[str, Any]] = []
        document = {"machine": describe(), "runs": found}
        for run in runs(options.file, options.tiers, options.largest):
            found.append(run)  # stored at once: the last ones take most of the time
            RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        print(f"\n{line(document['machine'])}")
    from plot import draw

    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    for path in draw(RESULTS.with_suffix(""), lambda theme: figure(stored["runs"], theme)):
        print(f"wrote {path}")


def runs(file: Path, tiers: list[str], largest: int) -> Iterator[dict[str, Any]]:
    """Measure each size under each tier, smallest first."""
    print("| rows | tier | seconds | CPU seconds | rows/s | peak MiB |\n| ---: | --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as scratch:
        for rows in (size for size in SIZES if size <= largest):
            path = Path(scratch) / f"rows-{rows}.jsonl"
            write_rows(file, path, rows)
            for tier in tiers:
                out = str(Path(scratch) / f"out-{tier}-{rows}")
                cost = measure([command(), "score", str(path), "--tier", tier, "--out", out])
                shutil.rmtree(out)
                yield {"rows": rows, "tier": tier} | {name: round(value, 2) for name, value in asdict(cost).items()}
                print(
                    f"| {rows:,} | {tier} | {cost.seconds:,.1f} | {cost.cpu_seconds:,.1f} | "
                    f"{rows / cost.seconds:,.0f} | {cost.peak_mib:,.0f} |",
                    flush=True,
                )
            path.unlink()


def write_rows(file: Path, target: Path, count: int) -> None:
    """Repeat a file's rows under ids of their own, each response with its number behind it."""
    rows = [json.loads(row) for row in file.open(encoding="utf-8")]
    with target.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(islice(cycle(rows), count)):
            own = {"id": f"row-{number}", "response": f"{row['response']} ({number})"}
            stream.write(json.dumps(row | own, ensure_ascii=False) + "\n")


def figure(found: list[dict[str, Any]], theme: Theme) -> Figure:
    """Draw seconds and MiB against rows."""
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator

    drawn, (time, memory) = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
    for index, tier in enumerate(dict.fromkeys(run["tier"] for run in found)):
        mine = [run for run in found if run["tier"] == tier]
        rows = [run["rows"] for run in mine]
        look = {"color": theme.ours[index], "marker": "os^"[index], "markersize": 5}
        time.plot(rows, [run["seconds"] for run in mine], **look)
        memory.plot(rows, [run["peak_mib"] for run in mine], **look)
        last = mine[-1]
        for axes, value, text in (
            (time, last["seconds"], f"{tier}: {last['rows'] / last['seconds']:,.0f} rows/s"),
            (memory, last["peak_mib"], f"{tier}: {last['peak_mib']:,.0f} MiB"),
        ):
            axes.annotate(text, (last["rows"], value), (9, 0), textcoords="offset points", va="center", fontsize=9)
    time.set(title="Wall time, seconds", xlabel="rows", xscale="log", yscale="log")
    memory.set(title="Peak memory, MiB", xlabel="rows", xscale="log", ylim=(0, memory.get_ylim()[1] * 1.2))
    time.yaxis.set_major_locator(LogLocator(10))
    for axis in (time.yaxis, time.xaxis, memory.xaxis, memory.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if value < MILLION else "1 million"))
    for axes in (time, memory):
        axes.xaxis.set_major_locator(LogLocator(10))
        axes.minorticks_off()
    return drawn


if __name__ == "__main__":
    main()
