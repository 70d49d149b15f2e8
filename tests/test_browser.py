"""`report.html` in a real browser: it filters, opens, exports, and runs nothing of what it shows."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_harness import ROWS, needs_model, run, write_rows
from page_harness import HOSTILE, answered_rows, attacked, evaluation, ordinary

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the extra 'browser'")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Chromium's sandbox refuses to run as root, as in most containers.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        one = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield one
        one.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Return what opens a page and collects every sign that something of it ran, or left."""
    context = browser.new_context(accept_downloads=True)
    signs: list[str] = []

    def open_(html: str, suffix: str = "") -> Any:
        (tmp_path / "report.html").write_text(html, encoding="utf-8", errors="replace")
        page = context.new_page()
        page.on("dialog", lambda dialog: (signs.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: signs.append(request.url) if not request.url.startswith(("file:", "blob:")) else None,
        )
        page.on("console", lambda message: signs.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: signs.append(str(error)))
        page.goto((tmp_path / "report.html").as_uri() + suffix)
        page.wait_for_selector("html[data-ready]")
        page.signs = signs
        return page

    yield open_
    context.close()
    assert not signs


def count(page: Any) -> str:
    return page.text_content("#count")


def test_filters_and_search_narrow_the_list(opened: Any) -> None:
    page = opened(ordinary())
    assert count(page) == "120 of 120 responses"
    page.select_option("[name=outcome]", "noncompliance")
    assert count(page) == "40 of 120 responses"
    page.select_option("[name=flag]", "uncertain")
    page.fill("[name=search]", "question 15")
    playwright.expect(page.locator(".item")).to_have_count(1)
    page.click("text=Clear filters")
    playwright.expect(page.locator("#count")).to_have_text("120 of 120 responses")


def test_a_name_in_a_table_shows_its_responses(opened: Any) -> None:
    page = opened(ordinary())
    page.locator("a.pick", has_text="privacy violations").first.click()
    assert count(page) == "60 of 120 responses"


def test_an_item_opens_with_what_decided_marked_in_its_place(opened: Any) -> None:
    page = opened(ordinary())
    page.locator(".head").first.click()
    assert page.text_content(".text mark") == "I can't help with that."
    assert "🦊 Sorry." in page.text_content(".item")


def test_keys_move_open_close_and_search(opened: Any) -> None:
    page = opened(ordinary())
    for _ in range(51):
        page.keyboard.press("j")
    assert page.text_content("#pages").find("page 2 of 3") >= 0
    page.keyboard.press("Enter")
    assert page.locator("[aria-expanded=true]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("[aria-expanded=true]").count() == 0
    page.keyboard.press("k")
    assert page.text_content("#pages").find("page 1 of 3") >= 0
    page.keyboard.press("/")
    page.keyboard.type("question 7")
    assert page.input_value("[name=search]") == "question 7"


def test_a_link_opens_its_item(opened: Any) -> None:
    page = opened(ordinary(), "#id=r77")
    assert "r77" in page.text_content(".item:has([aria-expanded=true])")


def test_the_selection_is_exported_as_json_lines(opened: Any, tmp_path: Path) -> None:
    page = opened(ordinary())
    page.select_option("[name=outcome]", "noncompliance")
    with page.expect_download() as waiting:
        page.click("#export")
    waiting.value.save_as(tmp_path / "selection.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "selection.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 40
    assert {"id", "prompt", "response", "verdict"} <= set(rows[0])
    assert {row["verdict"] for row in rows} == {"noncompliance"}


def test_hostile_texts_are_shown_and_nothing_runs(opened: Any) -> None:
    page = opened(attacked())
    for head in page.locator(".head").all():
        head.click()
    shown = page.text_content("#items")
    assert "<img src=x onerror='window.ran = 2'>" in shown
    assert "U+202E" in shown
    assert "U+001B" in shown
    assert "\u202e" not in page.text_content("body")
    assert page.evaluate("window.ran") is None
    assert page.locator("#items script, #items img, #items svg, #items a, #items style").count() == 0
    assert HOSTILE[:20] in page.title()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the reports of three commands on two runs; every fourth text attacks the reader."""
    folder = tmp_path_factory.mktemp("reports")
    texts = HOSTILE.replace("\ud800", "")
    rows = [
        row
        | {"id": f"{row['id']}-{turn}", "model": texts}
        | ({"prompt": texts, "response": texts} if turn == 0 else {})
        for turn in range(4)
        for row in ROWS
    ]
    before = write_rows(folder / "before.jsonl", rows)
    after = write_rows(folder / "after.jsonl", [row | {"response": f"Sure! {row['response']}"} for row in rows])
    said = [{"id": row["id"], "model": texts, "verdict": "compliance", "judge": texts} for row in rows]
    labels = write_rows(folder / "labels.jsonl", said)
    html = ("--report", "html")
    assert run("check", after, "--baseline", before, "--out", folder / "check", "--min-pairs", "5", *html).status in (
        0,
        1,
    )
    assert run("calibrate", before, "--labels", labels, "--out", folder / "calibrate", *html).status == 0
    assert run("compare", before, after, "--out", folder / "compare", *html).status == 0
    return folder


@needs_model
@pytest.mark.parametrize("command", ["check", "calibrate", "compare"])
def test_hostile_texts_run_in_no_report(opened: Any, reports: Path, command: str) -> None:
    page = opened((reports / command / "report.html").read_text(encoding="utf-8"))
    page.locator(".head").first.click()
    assert "\u202e" not in page.text_content("body")
    assert page.evaluate("window.ran") is None
    assert page.locator("main img, main svg[onload], main a[href^=javascript]").count() == 0


@needs_model
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("command", ["check", "calibrate", "compare"])
def test_axe_finds_no_serious_issue_in_any_report(browser: Any, reports: Path, scheme: str, command: str) -> None:
    assert not serious_issues(browser, reports / command / "report.html", scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("html", [ordinary(), attacked()], ids=["ordinary", "hostile"])
def test_axe_finds_no_serious_issue(browser: Any, tmp_path: Path, scheme: str, html: str) -> None:
    (tmp_path / "report.html").write_text(html, encoding="utf-8", errors="replace")
    assert not serious_issues(browser, tmp_path / "report.html", scheme)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of an evaluation."""
    pytest.importorskip("sklearn", reason="the extra 'train' is not installed")
    from refusal_clf.cli.pages import write_evaluation_page
    from refusal_clf.training.results import answered_labels

    rows = answered_rows(80)
    return write_evaluation_page(tmp_path_factory.mktemp("evaluated"), evaluation([rows]), answered_labels([rows]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_issue_in_an_evaluation(browser: Any, evaluated: Path, scheme: str) -> None:
    assert not serious_issues(browser, evaluated, scheme)


def test_on_paper_colours_keep_their_meaning_and_the_page_says_what_is_left_out(opened: Any) -> None:
    page = opened(ordinary())
    page.emulate_media(media="print")
    for mark in (".legend li", ".chip"):
        printed = "one => getComputedStyle(one, '::before').printColorAdjust"
        assert page.locator(mark).first.evaluate(printed) == "exact"
    assert page.locator("#pages").is_visible()
    assert page.inner_text("#pages").strip() == "page 1 of 3"
    assert not page.locator("#filters, #export").first.is_visible()


def test_paper_is_white_whatever_the_screen_is(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(ordinary(), encoding="utf-8")
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    colours = "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    on_screen = page.evaluate(colours)
    page.emulate_media(media="print", color_scheme="dark")
    on_paper = page.evaluate(colours)
    context.close()
    assert on_paper == ["rgb(28, 33, 40)", "rgb(255, 255, 255)"] != on_screen


def test_on_paper_a_confusion_table_stays_clear_of_the_plot_beside_it(browser: Any, evaluated: Path) -> None:
    context = browser.new_context(viewport={"width": 688, "height": 1000})  # A4 within its margins, 96 to the inch
    page = context.new_page()
    page.goto(evaluated.as_uri())
    page.emulate_media(media="print")
    table, plot = page.locator(".heat").first.bounding_box(), page.locator(".figure-plot").first.bounding_box()
    context.close()
    assert table["x"] + table["width"] <= plot["x"] or table["y"] + table["height"] <= plot["y"]


def serious_issues(browser: Any, file: Path, scheme: str) -> list[tuple[str, list[str]]]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]")
    page.locator(".head").first.click()
    found = axe.Axe().run(page).response["violations"]
    context.close()
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
