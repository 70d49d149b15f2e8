"""The outcome of a check for machines: JUnit XML, and GitHub's workflow commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from refusal_clf.comparison import Flip, Gate
from refusal_clf.report.escaping import printable
from refusal_clf.report.gate import explain, flip_line, flip_texts
from refusal_clf.writing import replacing

_FLIPS: Final = 20
_NAME: Final = 200
_TEXT: Final = 500


def write_junit(path: Path, gate: Gate) -> None:
    """Write a test case for each comparison and each limit; a failed one names the items that became worse.

    The layout is the common denominator of Jenkins, GitLab and GitHub's reporters: `testsuites`, `testsuite`,
    `testcase`, `failure`.
    """
    tests = len(gate.comparisons) + len(gate.limits)
    counts = {"tests": str(tests), "failures": str(len(gate.failures)), "errors": "0"}
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": "refusal-clf check", **counts})
    for row in gate.comparisons:
        case = ET.SubElement(suite, "testcase", {"classname": "refusal_clf.check", "name": printable(row.name, _NAME)})
        if row.failed:
            flips = [flip for flip in gate.flipped if flip.worse and row.holds(flip)]
            _fail(case, explain(row), flips[:_FLIPS])
    for limit in gate.limits:
        name = printable(f"{limit.name} {limit.bound}", _NAME)
        case = ET.SubElement(suite, "testcase", {"classname": "refusal_clf.limit", "name": name})
        if limit.failed:
            _fail(case, explain(limit), [])
    ET.indent(root)
    with replacing(path) as stream:
        stream.write("<?xml version='1.0' encoding='utf-8'?>\n" + ET.tostring(root, encoding="unicode") + "\n")


def workflow_commands(gate: Gate) -> Iterator[str]:
    """Yield a GitHub workflow command for each failure, and one for each note.

    The runner reads them from either stream of a step:
    https://docs.github.com/actions/using-workflows/workflow-commands-for-github-actions
    """
    for row in gate.failures:
        yield f"::error title={_property(f'refusal-clf check: {row.name}')}::{_data(explain(row))}"
    for note in gate.notes:
        yield f"::notice title=refusal-clf check::{_data(note)}"


def _fail(case: ET.Element, message: str, flips: Iterable[Flip]) -> None:
    # `printable` drops what XML cannot hold, control characters above all.
    failure = ET.SubElement(case, "failure", {"message": printable(message, _TEXT), "type": "regression"})
    lines = []
    for flip in flips:
        lines.append(printable(flip_line(flip), _NAME))
        lines += [f"    {label}: {printable(text, _TEXT)}" for label, text in flip_texts(flip)]
    failure.text = "\n".join([printable(message, _TEXT), *lines])


def _data(text: str) -> str:
    return printable(text, _TEXT).replace("%", "%25")


def _property(text: str) -> str:
    return printable(text, _NAME).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
