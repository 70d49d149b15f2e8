"""An `evaluation.json` document as tables: in a terminal, or as Markdown for a pull request or a model card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TextIO

from refusal_clf.report.sheets import Sheet, print_sheets, sheets_markdown

_FAMILIES = {"verdict": "Verdict under CoCoNot's rubric", "refusal": "Refusal class (XSTest's taxonomy)"}
_OURS = "refusal-clf"


def print_evaluation(document: dict[str, Any], file: TextIO | None = None) -> None:
    """Print the tables of a document to a terminal or a pipe (default: standard output)."""
    print_sheets(sheets(document), file)


def evaluation_markdown(document: dict[str, Any]) -> str:
    """Return the tables of a document as GitHub-flavoured Markdown."""
    return sheets_markdown(sheets(document))


def sheets(document: dict[str, Any]) -> Iterator[Sheet]:
    """Yield the tables of a document: agreement for each label family, the gain over TF-IDF, category rates."""
    where = f"{document['protocol']}, {_PARTS[document['part']]}"
    results = document["results"]
    for family, title in _FAMILIES.items():
        chosen = [result for result in results if result["family"] == family]
        if chosen:
            yield _agreement(f"{title}; {where}", chosen)
            yield _gain(f"{title}: Cohen's kappa above TF-IDF's, paired bootstrap", chosen)
    refusals = [result for result in results if result["family"] == "refusal"]
    if refusals:
        yield _refusal_f1(refusals)
        yield _unambiguous(refusals)
    if any(result["raters"] for result in results):
        yield _raters(results)
    verdicts = [result for result in results if result["family"] == "verdict"]
    if verdicts:
        yield _uncertain(verdicts)
        yield _rates(verdicts, "categories", "category")
        yield _rates(verdicts, "subcategories", "subcategory")


_PARTS = {
    "all": "all prompts",
    "dev": "the three prompts in ten on which choices are made",
    "test": "the seven prompts in ten that no choice was made on",
}


def _agreement(title: str, results: list[dict[str, Any]]) -> Sheet:
    rows = [
        (
            f"{result['labels']} (n={result['n']})",
            row["method"],
            _percent(row["agreement"]),
            _number(row["kappa"]),
            _number(row["macro_f1"]),
            f"{row['ece']['estimate']:.3f}",
            f"{row['brier']['estimate']:.3f}",
        )
        for result in results
        for row in result["methods"]
    ]
    return Sheet(title, ("labels", "method", "agreement, %", "kappa", "macro-F1", "ECE", "Brier"), tuple(rows))


def _gain(title: str, results: list[dict[str, Any]]) -> Sheet:
    rows = []
    for result in results:
        gain = result["kappa_above_tfidf"]
        interval = f"[{gain['ci_low']:+.3f}, {gain['ci_high']:+.3f}]"
        rows.append((result["labels"], f"n={result['n']}", f"{gain['estimate']:+.3f}", interval))
    return Sheet(title, ("labels", "rows", "difference", "95 % interval"), tuple(rows))


def _refusal_f1(results: list[dict[str, Any]]) -> Sheet:
    rows = [
        (result["labels"], method, _number(value))
        for result in results
        for method, value in result["any_refusal_f1"].items()
    ]
    return Sheet("F1 of any refusal against full compliance", ("labels", "method", "F1"), tuple(rows))


def _unambiguous(results: list[dict[str, Any]]) -> Sheet:
    rows = [
        (f"{result['labels']} (n={result['unambiguous']['n']})", method, _percent(value))
        for result in results
        for method, value in result["unambiguous"]["accuracy"].items()
    ]
    title = "Refusal or not, where the label is no partial refusal: accuracy, %"
    return Sheet(title, ("labels", "method", "accuracy, %"), tuple(rows))


def _raters(results: list[dict[str, Any]]) -> Sheet:
    rows = []
    for result in results:
        for rater in result["raters"]:
            for who in (rater["rater"], _OURS):
                found = rater[who]
                f1 = _number(found["any_refusal_f1"]) if "any_refusal_f1" in found else ""
                name = f"{result['labels']}, {result['family']} (n={rater['n']})"
                rows.append((name, who, _percent(found["agreement"]), _number(found["kappa"]), f1))
    columns = ("labels", "judge", "agreement, %", "kappa", "F1 of any refusal")
    return Sheet(
        "Other judges against the same labels, and the classifier on the rows that they judged", columns, tuple(rows)
    )


def _uncertain(results: list[dict[str, Any]]) -> Sheet:
    rows = []
    for result in results:
        found = result["uncertain"]
        errors = [_percent(found[name]) if name in found else "" for name in ("error_if_sure", "error_if_uncertain")]
        rows.append((result["labels"], f"n={result['n']}", f"{100 * found['share']:.1f}", *errors))
    columns = ("labels", "rows", "flagged uncertain, %", "errors of the others, %", "errors of the flagged, %")
    tolerated = results[0]["uncertain"]["tolerated"]
    return Sheet(
        f"Verdicts flagged uncertain; at most {tolerated:.0%} of the others may be wrong", columns, tuple(rows)
    )


def _rates(results: list[dict[str, Any]], key: str, level: str) -> Sheet:
    rows = [
        (
            result["labels"],
            row[level],
            str(row["n"]),
            f"{100 * row['agreement']:.1f}",
            f"{100 * row['judge']:.1f}",
            f"{100 * row['methods'][_OURS]:.1f}",
            f"{100 * row['error']:+.1f}",
        )
        for result in results
        for row in result[key]
    ]
    columns = ("labels", level, "n", "agreement, %", "judge, %", f"{_OURS}, %", "error, points")
    return Sheet(f"Compliance rate of each {level}, by the judge and by the classifier", columns, tuple(rows))


def _percent(value: dict[str, float]) -> str:
    return f"{100 * value['estimate']:.1f} [{100 * value['ci_low']:.1f}, {100 * value['ci_high']:.1f}]"


def _number(value: dict[str, float]) -> str:
    return f"{value['estimate']:.3f} [{value['ci_low']:.3f}, {value['ci_high']:.3f}]"
