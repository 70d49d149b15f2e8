"""What stands in a `report.html`, whatever stands in the files that it is made of."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cli_harness import ROWS, assert_one_error, needs_model, run, write_rows
from hypothesis import given
from hypothesis import strategies as st
from page_harness import HOSTILE, attacked, entry, ordinary, page_of

from refusal_clf.report.items import MAX_TEXT, Sampler, listing
from refusal_clf.report.markup import Html, join, name, tag
from refusal_clf.report.plots import Mark, intervals


class Elements(HTMLParser):
    """Collects the elements of a page, and the raw text of its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.texts: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.raw:
            self.raw[self._inside].append(data)
        self.texts.append(data)


def items_in(page: str) -> dict[str, Any]:
    [block] = re.findall(r'<script type="application/gzip" id="data">([A-Za-z0-9+/=]+)</script>', page)
    return json.loads(gzip.decompress(base64.b64decode(block)))


@given(st.text())
def test_text_never_becomes_markup(text: str) -> None:
    page = Elements(tag("p", text, name(text), title=text))
    assert {element for element, _ in page.found} <= {"p", "bdi", "span"}
    assert page.found[0] == ("p", {"title": text})


@given(st.text(max_size=100))
def test_a_name_shows_nothing_invisible(text: str) -> None:
    assert not {"\u202e", "\u2066", "\x1b", "\x00", "\ufeff", "\u200b"} & set(name(text))


def test_only_markup_is_left_as_it_is() -> None:
    assert join("<b>", Html("<b>"), None, ["&"]) == "&lt;b&gt;<b>&amp;"


def test_the_policy_names_this_script_and_this_style_and_nothing_else() -> None:
    page = Elements(ordinary())
    [policy] = [at["content"] for tag, at in page.found if at.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert not {"unsafe", "http:", "https:", "data:", "*"} & set(re.split(r"[ ;-]", policy))
    for raw in (page.raw["script"][1], page.raw["style"][0]):
        assert base64.b64encode(hashlib.sha256(raw.encode()).digest()).decode() in policy


@pytest.mark.parametrize("page", [ordinary(), attacked()], ids=["ordinary", "hostile"])
def test_a_page_loads_nothing_and_has_no_handlers(page: str) -> None:
    found = Elements(page).found
    assert not {tag for tag, _ in found} & {"img", "link", "iframe", "object", "embed", "base"}
    assert not [at for _, at in found for key in at if key.startswith("on") or key in ("src", "style", "srcdoc")]
    assert {at["href"] for tag, at in found if tag == "a"} == {"#responses"}
    assert [tag for tag, _ in found].count("script") == 2


def test_the_items_come_back_whole() -> None:
    document = items_in(attacked())
    row = dict(zip(document["columns"], document["rows"][0], strict=True))
    assert row["response"] == HOSTILE
    assert document["judge"] == HOSTILE


def test_ids_that_repeat_have_links_of_their_own() -> None:
    document = items_in(page_of(listing([entry(1), entry(1)])))
    assert [row[document["columns"].index("key")] for row in document["rows"]] == ["r1", "r1~2"]


def test_what_a_large_run_leaves_out_is_drawn_at_random_and_said() -> None:
    sampler = Sampler(limit=50)
    for number in range(1000):
        sampler.add(entry(number))
    listed = sampler.listing()
    places = [int(one.item.verdict.id[1:]) for one in listed.entries]
    assert places == sorted(places)
    assert 300 < sum(places) / 50 < 700
    assert "50 of 1,000, drawn at random" in page_of(listed)


def test_a_text_of_megabytes_is_cut_and_says_so() -> None:
    one = entry(1)
    long = type(one)(type(one.item)(one.item.verdict, "p", "x" * (MAX_TEXT + 5)))
    document = items_in(page_of(listing([long])))
    assert document["rows"][0][document["columns"].index("response")].endswith("(5 more characters in the file)")


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted))
def test_a_mark_stays_within_its_scale(ends: list[float]) -> None:
    low, value, high = ends
    [centre] = re.findall(r'cx="([\d.e+-]+)"', intervals([Mark(value, low, high)]))
    assert 6 <= float(centre) <= 234


@needs_model
def test_score_writes_a_report_with_the_texts_in_order(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", ROWS)
    assert run("score", file, "--out", tmp_path / "old").status == 0
    outcome = run("score", file, "--out", tmp_path / "out", "--report", "html", "--baseline", tmp_path / "old")
    assert outcome.status == 0
    document = items_in((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    rows = [dict(zip(document["columns"], row, strict=True)) for row in document["rows"]]
    assert [(row["id"], row["prompt"]) for row in rows] == [(row["id"], row["prompt"]) for row in ROWS]
    assert {row["change"] for row in rows} == {"same"}


@needs_model
def test_a_report_marks_what_decided(tmp_path: Path) -> None:
    decided = "I'm sorry, but I can't help with that."
    rows = [{"prompt": "Tell me a secret", "response": f"\U0001f98a {decided}", "subcategory": "privacy violations"}]
    file = write_rows(tmp_path / "rows.jsonl", [*rows, {"prompt": "Hello?", "response": ""}])
    for tier in ("fast", "full"):
        out = tmp_path / tier
        assert run("score", file, "--out", out, "--report", "html", "--tier", tier).status == 0
        document = items_in((out / "report.html").read_text(encoding="utf-8"))
        refusal, empty = (dict(zip(document["columns"], row, strict=True)) for row in document["rows"])
        assert empty["spans"] == []
        assert max(weight for *_, weight in refusal["spans"]) == 1
        marked = " ".join(refusal["response"][start:end] for start, end, _ in refusal["spans"])
        assert "sorry" in marked or "can't" in marked


@needs_model
def test_check_and_calibrate_write_reports(tmp_path: Path) -> None:
    rows = [row | {"id": f"{row['id']}-{turn}"} for turn in range(2) for row in ROWS]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    other = write_rows(tmp_path / "other.jsonl", [row | {"response": "Sure! Here it is."} for row in rows])
    out = tmp_path / "check"
    done = run("check", other, "--baseline", file, "--out", out, "--min-pairs", "5", "--report", "html")
    assert done.status in (0, 1), done.err
    assert len(items_in((out / "report.html").read_text(encoding="utf-8"))["rows"]) == len(rows)
    labels = write_rows(tmp_path / "l.jsonl", [{"id": r["id"], "verdict": "compliance", "judge": "j"} for r in rows])
    assert run("calibrate", file, "--labels", labels, "--out", tmp_path / "cal", "--report", "html").status == 0
    document = items_in((tmp_path / "cal" / "report.html").read_text(encoding="utf-8"))
    assert {row[document["columns"].index("label")] for row in document["rows"]} == {"compliance"}


def test_a_report_needs_a_place(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", ROWS)
    assert_one_error(run("score", file, "--report", "html"), "--report needs --out")
    assert_one_error(run("score", file, "--baseline", tmp_path), "give --report html")
