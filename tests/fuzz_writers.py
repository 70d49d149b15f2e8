"""What is fuzzed of the writers: every report made of hostile names and texts has the shape of one of harmless ones.

The bytes of an input are cut at U+0001 into strings, which become every name and text of a scoring run, a check, a
calibration, a comparison and a review. Each report is written twice, once with a harmless word in the place of each
hostile string: what a string adds to the shape of a document is a finding.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from fuzz_reports import KINDS, Reports, strings_of

from refusal_clf.report.calibration import calibration_markdown, print_calibration
from refusal_clf.report.ci import workflow_commands, write_junit
from refusal_clf.report.gate import gate_markdown, print_gate
from refusal_clf.report.items import MAX_TEXT
from refusal_clf.report.markdown import markdown
from refusal_clf.report.page import write_page
from refusal_clf.report.sheets import print_sheets, sheets_markdown
from refusal_clf.report.side_by_side import sheets
from refusal_clf.report.terminal import print_report
from refusal_clf.rubrics import canonical_group
from refusal_clf.scoring import coconot_rows
from refusal_clf.writing import write_coconot_tsv

LARGEST = 128
"""How many times over a page may hold a string: in names and texts of its items, each character escaped in six."""
REPEATED = {("tr", "td")}, {("tr", "th"), ("tr", "th", "scope"), ("th", "bdi")}
"""Elements that may be more, and fewer, than in a page of harmless names: below one that looks the same, a name is left
out, and its header is a plain cell."""
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-writers-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_COMMANDS = (
    "add-mask add-matcher add-path debug echo endgroup error group notice remove-matcher save-state set-env set-output "
    "stop-commands warning"
).split()
"""GitHub's, https://docs.github.com/actions/using-workflows/workflow-commands-for-github-actions and those before."""
_OBEYED = re.compile(
    rf"^\s*::(?:{'|'.join(_COMMANDS)})(?: [^\n]*)?::|##(?:vso|teamcity)?\[", re.MULTILINE | re.IGNORECASE
)
"""What a runner takes for a command, at the start of a line or anywhere in it."""


def harmless(text: str, known: dict[str, str]) -> str:
    """Return the same word for the same text: what decides of a report's shape (emptiness, known names) stays."""
    if re.fullmatch(r"[A-Za-z0-9 _·-]*", text) or canonical_group(text, text) != (text or None, text or None):
        return text
    blanks = len(text) - len(text.lstrip(" "))
    return known.setdefault(text, " " * blanks + f"word{len(known)}")


def both(data: bytes) -> tuple[Reports, Reports, list[str]]:
    """Return the reports of the strings and of harmless ones, and the strings."""
    strings, known = strings_of(data), dict[str, str]()
    return Reports(strings), Reports([harmless(text, known) for text in strings]), strings


class Shape(HTMLParser):
    """The elements of a page with the names of their attributes, as they are nested; comments and the like."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: Counter[tuple[str, ...]] = Counter()
        self.others: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self._marked = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # A character that is not shown as itself stands in such an element, which has no other use.
        self._marked = tag == "span" and ("class", "ctl") in attrs
        if not self._marked:
            self.elements[(*self._open[-1:], tag, *sorted(name for name, _ in attrs))] += 1
        if tag not in ("meta", "link", "br", "input", "hr"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._marked:
            assert re.fullmatch(r"U\+[0-9A-F]{4,6}", data)
            self._marked = False
        elif self._open[-1:] == ["script"]:
            self.scripts.append(data)

    def handle_comment(self, data: str) -> None:
        self.others.append("comment")

    def handle_decl(self, decl: str) -> None:
        self.others.append(decl)

    def handle_pi(self, data: str) -> None:
        self.others.append("instruction")

    def unknown_decl(self, data: str) -> None:
        self.others.append("declaration")


def check_page(kind: str, data: bytes) -> str:
    """Hold the page of a command against that of harmless strings, and return it."""
    hostile, plain, strings = both(data)
    written, other = write_page(_FOLDER, hostile.page(kind)).read_bytes().decode("utf-8"), plain.page(kind)
    shape, expected = Shape(written), Shape(other)
    more, fewer = shape.elements - expected.elements, expected.elements - shape.elements
    assert more.keys() <= REPEATED[0], more
    assert fewer.keys() <= REPEATED[1], fewer
    assert more.total() <= fewer.total()
    assert shape.others == expected.others == ["doctype html"]
    assert len(shape.scripts) == len(expected.scripts)
    longest = sum(map(len, strings)) + 1000
    assert len(written) - len(other) < LARGEST * longest, f"{len(written):,} characters of {longest:,}"
    [block] = re.findall(r'id="data">([A-Za-z0-9+/=]+)</script>', written)
    document = json.loads(gzip.decompress(base64.b64decode(block)))
    rows = [dict(zip(document["columns"], row, strict=True)) for row in document["rows"]]
    for row, (prompt, response) in zip(rows, hostile.texts, strict=True):
        assert (row.get("prompt"), row.get("response")) == (_held(prompt), _held(response))
    return written


def _held(text: str | None) -> str | None:
    if text is None or len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}\n… ({len(text) - MAX_TEXT:,} more characters in the file)"


def _review(data: bytes) -> None:
    hostile, _, _ = both(data)
    for completion, judge, shown in hostile.reviewed():
        document = json.loads(json.dumps(shown))
        for key in ("prompt", "response"):
            assert _whole(document[key]) == getattr(completion, key).replace("\r\n", "\n")
        assert _whole(document["others"][1][0]) == judge.replace("\r\n", "\n")
        shown_as_they_are = "".join(document["prompt"][::2])
        assert not {unicodedata.category(one) for one in set(shown_as_they_are) - set("\n\t\u200c\u200d")} & INVISIBLE


def _whole(pieces: Sequence[str]) -> str:
    """Undo `escaping.pieces`."""
    return "".join(chr(int(part[2:], 16)) if at % 2 else part for at, part in enumerate(pieces))


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


_PRINTERS: tuple[Callable[[Reports, io.StringIO], None], ...] = (
    lambda reports, file: print_report(reports.report, details=True, file=file),
    lambda reports, file: print_gate(reports.gate, file),
    lambda reports, file: print_calibration(reports.calibration, details=True, file=file),
    lambda reports, file: print_sheets(sheets(reports.compared), file),
)


def check_terminal(kind: str, data: bytes, *, piped: bool) -> None:
    """Print a command's report: nothing of a string may move the cursor, or be obeyed by a runner that reads along."""
    hostile, _, _ = both(data)
    file = io.StringIO() if piped else _Terminal()
    _PRINTERS[KINDS.index(kind)](hostile, file)
    shown = file.getvalue() if piped else _STYLE.sub("", file.getvalue())
    assert shown.replace("\n", "").isprintable(), repr(shown)[:400]
    assert not _OBEYED.search(shown), repr(_OBEYED.search(shown))


def _markdown(data: bytes) -> None:
    hostile, plain, _ = both(data)
    for text, other in zip(_documents(hostile), _documents(plain), strict=True):
        lines, expected = text.split("\n"), other.split("\n")
        assert len(lines) == len(expected)
        # Tables are in the order of their names, which is another one with other names.
        assert sorted(map(_bars, lines)) == sorted(map(_bars, expected))
        assert not re.search(r"(?<!\\)[<\[`]", re.sub(r"\\\\|\[[-+\d., ]+\]|`refusal-clf data pull coconot`", "", text))
        assert text.replace("\n", "").replace("\u200b", "").isprintable() or "\xa0" in text
        assert not _OBEYED.search(text)


def _documents(reports: Reports) -> tuple[str, ...]:
    return (
        markdown(reports.report, details=True),
        gate_markdown(reports.gate),
        calibration_markdown(reports.calibration, details=True),
        sheets_markdown(sheets(reports.compared)),
    )


def _bars(line: str) -> int:
    return len(re.sub(r"\\.", "", line).split("|"))


def _ci(data: bytes) -> None:
    hostile, plain, _ = both(data)
    shapes = []
    for reports in (hostile, plain):
        write_junit(_FOLDER / "junit.xml", reports.gate)
        document = ET.fromstring((_FOLDER / "junit.xml").read_bytes())
        shapes.append(Counter((element.tag, *sorted(element.attrib)) for element in document.iter()))
    assert shapes[0] == shapes[1]
    commands = list(workflow_commands(hostile.gate))
    assert len(commands) == len(hostile.gate.failures) + len(hostile.gate.notes)
    for command in commands:
        # As the runner reads it: https://github.com/actions/runner, src/Runner.Common/ActionCommand.cs.
        assert command.isprintable()
        name, _, properties = command[2 : command.index("::", 2)].partition(" ")
        assert name in ("error", "notice")
        assert [one.split("=")[0] for one in properties.split(",")] == ["title"]
        assert not re.search(r"%(?!25|3A|2C)", command)


def _coconot(data: bytes) -> None:
    hostile, plain, _ = both(data)
    path = _FOLDER / "compliance.tsv"
    rows = coconot_rows(hostile.counter)
    assert len(rows) == len(coconot_rows(plain.counter))
    write_coconot_tsv(path, rows)
    table = list(csv.reader(path.read_bytes().decode("utf-8").split("\n")[:-1], delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(table) == len(rows) + 1
    for row, cells in zip(rows, table[1:], strict=True):
        assert [float(cell) for cell in cells[1:]] == list(row[1:])
        assert not cells[0].startswith(("=", "+", "-", "@", "\t", "\r"))


TARGETS: dict[str, Callable[[bytes], Any]] = {
    # A kind of report after the other, by the input's length: all of them at once would be a few inputs a second.
    "pages": lambda data: check_page(KINDS[len(data) % len(KINDS)], data),
    "review": _review,
    "terminal": lambda data: check_terminal(KINDS[len(data) % len(KINDS)], data, piped=len(data) % 8 < 4),
    "markdown": _markdown,
    "ci": _ci,
    "coconot_table": _coconot,
}
