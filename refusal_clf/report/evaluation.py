"""The table that `evaluate` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

_COLUMNS = ("labels", "n", "method", "agreement", "kappa", "macro-F1", "ECE")


def print_evaluation(document: dict[str, Any], *, markdown: bool = False) -> None:
    """Print an `evaluation.json` document to standard output, one table for each label family."""
    console = Console(highlight=False, soft_wrap=markdown)
    for family in ("verdict", "refusal"):
        results = [result for result in document["results"] if result["family"] == family]
        if not results:
            continue
        title = f"{family}, {document['protocol']}, {document['part']} prompts (95 % intervals)"
        if markdown:
            console.print(f"\n**{title}**\n\n| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}", markup=False)
            for row in _rows(results):
                console.print(f"| {' | '.join(row)} |", markup=False)
        else:
            table = Table(*_COLUMNS, title=title, title_justify="left")
            for row in _rows(results):
                table.add_row(*row, end_section=row[2].startswith("string"))
            console.print(table)
        for result in results:
            low, high = (result["kappa_above_tfidf"][end] for end in ("ci_low", "ci_high"))
            console.print(
                f"{result['labels']}: kappa {result['kappa_above_tfidf']['estimate']:+.3f} against TF-IDF "
                f"[{low:+.3f}, {high:+.3f}]" + ("\n" if markdown else ""),
                markup=False,
            )
        if family == "verdict":
            _print_categories(console, results, markdown=markdown)


def _rows(results: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for result in results:
        for index, row in enumerate(result["methods"]):
            first = (result["labels"], str(result["n"])) if index == 0 else ("", "")
            yield (
                *first,
                row["method"],
                _share(row["agreement"]),
                _number(row["kappa"]),
                _number(row["macro_f1"]),
                f"{row['ece']['estimate']:.3f}",
            )


def _print_categories(console: Console, results: list[dict[str, Any]], *, markdown: bool) -> None:
    columns = ("labels", "category", "n", "judge", "refusal-clf", "error, points")
    table = Table(*columns, title="compliance rates by category", title_justify="left")
    for result in results:
        for index, row in enumerate(result["categories"]):
            cells = (
                result["labels"] if index == 0 else "",
                row["category"],
                str(row["n"]),
                f"{row['judge']:.1%}",
                f"{row['methods']['refusal-clf']:.1%}",
                f"{100 * row['error']:+.1f}",
            )
            if markdown:
                if not table.rows and result is results[0] and index == 0:
                    console.print(f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", markup=False)
                console.print(f"| {' | '.join(cells)} |", markup=False)
            else:
                table.add_row(*cells)
    if not markdown:
        console.print(table)


def _share(value: dict[str, float]) -> str:
    return f"{100 * value['estimate']:.1f} [{100 * value['ci_low']:.1f}, {100 * value['ci_high']:.1f}]"


def _number(value: dict[str, float]) -> str:
    return f"{value['estimate']:.3f} [{value['ci_low']:.3f}, {value['ci_high']:.3f}]"
