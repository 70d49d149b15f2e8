"""What `bench` measured as a table and sentences: in a terminal, or as Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TextIO

from rich.text import Text

from refusal_clf.machine import line
from refusal_clf.report.escaping import markdown_cell, printable
from refusal_clf.report.sheets import Sheet, print_sheets, sheets_markdown
from refusal_clf.report.terminal import make_console


def print_speed(document: dict[str, Any], file: TextIO | None = None) -> None:
    """Print the table, what it was measured on and the estimate (default: to standard output)."""
    print_sheets([_sheet(document)], file)
    console = make_console(file or sys.stdout)
    for sentence in _sentences(document):
        console.print(Text(printable(sentence, limit=400)), soft_wrap=True)
    for note in document["notes"]:
        console.print(Text(f"! {printable(note, limit=400)}", style="yellow"), soft_wrap=True)


def speed_markdown(document: dict[str, Any]) -> str:
    """Return the same as GitHub-flavoured Markdown."""
    lines = [f"- {markdown_cell(sentence, limit=400)}" for sentence in _sentences(document)]
    lines += [f"- Note: {markdown_cell(note, limit=400)}" for note in document["notes"]]
    return sheets_markdown([_sheet(document)]) + "\n" + "\n".join(lines) + "\n"


def _sheet(document: dict[str, Any]) -> Sheet:
    return Sheet(
        f"Speed of {document['model']['name']} on this machine",
        ("tier", "rows a second", "one, ms", "p99", "start, s", "MiB", "encoder"),
        tuple(
            (
                one["tier"],
                _ranged(one["rows_per_second"]),
                _figure(one["latency_ms"]["median"]),
                _figure(one["p99_ms"]["median"]),
                f"{one['startup_seconds']['median']:.2f}",
                f"{one['peak_mib']['median']:,.0f}" if one["peak_mib"] else "not known",
                f"{100 * one['encoder_share']:.0f} %",
            )
            for one in document["tiers"]
        ),
        names=1,
    )


def _sentences(document: dict[str, Any]) -> Iterator[str]:
    tiers = {one["tier"]: one["estimated_seconds"] for one in document["tiers"]}
    tier = "auto" if "auto" in tiers else next(iter(tiers))
    rows, threads, repeats = document["completions"], document["threads"], document["repeats"]
    yield (
        f"A CoCoNot run (1,380 responses) takes about {_duration(tiers[tier]['coconot'])} here; "
        f"a million responses {_duration(tiers[tier]['million'])} (--tier {tier})."
    )
    once = "one new process a tier" if repeats == 1 else f"medians of {repeats} new processes a tier [least, most]"
    yield (
        f"{rows['n']:,} completions ({rows['source']}; {rows['mean_characters']:,} characters a response on average), "
        f"{document['single_calls']} asked for one by one; {threads} thread{'' if threads == 1 else 's'}; {once}"
    )
    yield (
        "one: milliseconds for a single response, median and 99th percentile; start: of a new process, to its first "
        "verdict; MiB: of memory, at most; encoder: the share of rows that it was asked for"
    )
    yield line(document["machine"])


def _ranged(figure: dict[str, float]) -> str:
    return f"{_figure(figure['median'])} [{_figure(figure['min'])}, {_figure(figure['max'])}]"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
