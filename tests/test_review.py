"""`refusal-clf review`: the queue, the labels file, the page's server, the keyboard in a browser, merging."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from contextlib import contextmanager
from dataclasses import asdict

import pytest
from cli_harness import assert_one_error, needs_model, run, write_rows

from refusal_clf import Completion, Label, Verdict
from refusal_clf.judge.rubric import load_rubric
from refusal_clf.reading import read_labels
from refusal_clf.records import InputError
from refusal_clf.review.items import make_queue
from refusal_clf.review.merging import merge
from refusal_clf.review.server import Review, make_server
from refusal_clf.review.store import open_store
from refusal_clf.training.dataset import load_examples, targets

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\u202eevil\x1b[31m =1+1"


def items(n=12, queue="disagreements"):
    completions = [Completion(prompt=f"q{at}", response=f"{HOSTILE} {at}", id=f"r{at}") for at in range(n)]
    verdicts = [
        Verdict(
            f"r{at}", "generic", None, None, None, None, "noncompliance", 0.6 + at / 100, "full_refusal", 0.9, "full"
        )
        for at in range(n)
    ]
    judged = {at: Label(completions[at], "compliance", None, "j") for at in range(0, n, 1)}
    return make_queue(completions, verdicts, judged, queue)


def test_disagreements_come_surest_first_and_doubtful_items_nearest_to_even_odds_first():
    assert items()[0].completion.id == "r11"
    assert items(queue="uncertain")[0].completion.id == "r0"


def test_labels_are_on_disk_at_once_undone_and_gone_on_with(tmp_path):
    path = tmp_path / "mine.jsonl"
    store = open_store(path, items(), "disagreements", "anna")
    store.set(0, "verdict", "compliance", blind=True)
    store.set(0, "refusal", "full_refusal", blind=True)
    store.set(1, "verdict", "neither", blind=True)
    assert [label.verdict for label in read_labels(path)] == ["compliance", "neither"]
    assert store.undo() == 1
    [label] = read_labels(path)
    assert (label.verdict, label.refusal, label.judge) == ("compliance", "full_refusal", "human")
    assert open_store(path, items(), "disagreements", "anna").get(0)["refusal"] == "full_refusal"
    with pytest.raises(InputError, match="reviewer 'anna'"):
        open_store(path, items(), "disagreements", "ben")


def test_a_second_review_of_one_file_loses_no_label_of_the_first(tmp_path):
    path = tmp_path / "mine.jsonl"
    first, second = (open_store(path, items(), "disagreements", "anna") for _ in range(2))
    first.set(0, "verdict", "compliance", blind=True)
    with pytest.raises(InputError, match=r"mine\.jsonl: was changed since it was read"):
        second.set(1, "verdict", "neither", blind=True)
    first.set(2, "verdict", "neither", blind=True)
    assert len([*read_labels(path)]) == 2


@needs_model
def test_calibrate_and_train_read_what_was_reviewed(tmp_path):
    queue = items(40, "random")
    completions = write_rows(tmp_path / "completions.jsonl", [asdict(item.completion) for item in queue])
    path = tmp_path / "mine.jsonl"
    store = open_store(path, queue, "random", "anna")
    for place in range(30):
        store.set(place, "verdict", ("compliance", "noncompliance")[place % 2], blind=True)
        store.set(place, "refusal", ("full_compliance", "full_refusal")[place % 2], blind=True)
    calibrated = run("calibrate", completions, "--labels", path, "--truth", "human", "--format", "json")
    assert calibrated.status == 0, calibrated.err
    document = json.loads(calibrated.out)
    assert (document["n"], document["n_labels"], document["judge"]) == (40, 30, "human")
    examples = load_examples([path])
    assert len(examples) == 30
    assert targets(examples)[:, 0].tolist() == [1, 0] * 15


@contextmanager
def serving(tmp_path, *, show=False):
    store = open_store(tmp_path / "mine.jsonl", items(), "disagreements", "anna")
    server, address = make_server(Review(items(), store, load_rubric(), ("verdict", "refusal"), show=show))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()


def test_the_server_answers_its_own_page_alone_and_hides_other_labels(tmp_path):
    with serving(tmp_path) as address:
        host, path = address.removeprefix("http://").split("/", 1)

        def ask(to, method="GET", body=None, **headers):
            connection = http.client.HTTPConnection(host, timeout=5)
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, to, body, names)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers

        status, _, headers = ask(f"/{path}")
        assert status == 200
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert ask(f"/{path}", Host="evil.example")[0] == 421
        assert ask(f"/{path}", Origin="http://evil.example")[0] == 403
        assert ask("/guess/")[0] == 404
        assert json.loads(ask(f"/{path}item/0")[1])["others"] is None
        label = json.dumps({"place": 0, "field": "verdict", "value": "compliance"})
        assert ask(f"/{path}label", "POST", label, Content_Type="text/plain")[0] == 415
        assert ask(f"/{path}label", "POST", '{"place": 99}', Content_Type="application/json")[0] == 400
        assert ask(f"/{path}label", "POST", "[" * 4000, Content_Type="application/json")[0] == 400
        assert ask(f"/{path}label", "POST", "{}", Content_Type="application/json", Content_Length="9" * 5000)[0] == 413
        assert ask(f"/{path}label", "POST", label, Content_Type="application/json")[0] == 200


def test_ten_disagreements_are_reviewed_with_the_keyboard(tmp_path):
    browser = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    with serving(tmp_path) as address, browser.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = launched.new_page()
        ran = []
        page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: None if request.url.startswith(address) else ran.append(request.url))
        page.goto(address)
        for at in range(10):
            page.locator("#where", has_text=f"{at + 1} of 12 ·").wait_for()
            assert "<script>" in page.inner_text("#response")
            page.keyboard.press("2")
            page.keyboard.press("e")
        page.locator("#where", has_text="11 of 12 ·").wait_for()
        path = tmp_path / "mine.jsonl"
        assert [(label.verdict, label.refusal) for label in read_labels(path)] == [("compliance", "full_refusal")] * 10
        page.keyboard.press("u")
        page.locator("#where", has_text="10 of 12 ·").wait_for()
        assert [label.refusal for label in read_labels(path)].count("full_refusal") == 9
        launched.close()
        assert ran == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_issue_on_the_page(tmp_path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    browser = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    with serving(tmp_path, show=True) as address, browser.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = launched.new_context(color_scheme=scheme, bypass_csp=True).new_page()
        page.goto(address)
        page.locator("#others p").first.wait_for()
        assert page.locator("#others p").all_inner_texts()[1] == "j: compliance"
        found = axe.Axe().run(page).response["violations"]
        launched.close()
    assert not [one["id"] for one in found if one["impact"] in ("serious", "critical")]


def test_merging_never_overwrites_what_it_merges(tmp_path):
    rows = [{"id": "r", "verdict": "compliance", "judge": "human"}]
    first, second = (write_rows(tmp_path / name, rows) for name in ("a.jsonl", "b.jsonl"))
    before = first.read_bytes()
    assert_one_error(run("review", "--merge", first, second, "--out", first), "is one of the files to merge")
    assert first.read_bytes() == before


def test_labels_of_a_judge_are_never_merged_into_a_persons(tmp_path):
    mine = write_rows(tmp_path / "a.jsonl", [{"id": "r", "verdict": "compliance", "judge": "human"}])
    judged = write_rows(tmp_path / "b.jsonl", [{"id": "r", "verdict": "compliance", "judge": "gpt-4o"}])
    outcome = run("review", "--merge", mine, judged, "--out", tmp_path / "m.jsonl")
    assert_one_error(outcome, r"b\.jsonl: holds labels of 'gpt-4o'")
    assert_one_error(run("review", "--merge", mine, mine, "--out", tmp_path / "m.jsonl"), "is given twice")
    assert not (tmp_path / "m.jsonl").exists()


def test_two_reviewers_are_merged_with_their_agreement_and_conflicts(tmp_path):
    rows = [{"id": f"r{at}", "verdict": "compliance", "judge": "human"} for at in range(4)]
    first = write_rows(tmp_path / "a.jsonl", rows)
    second = write_rows(tmp_path / "b.jsonl", [*rows[:3], {**rows[3], "verdict": "noncompliance"}])
    assert merge(first, second).agreements["verdict"][:2] == (4, 0.75)
    assert len(merge(first, second).rows) == 3
    assert merge(first, second, prefer="second").rows[3]["verdict"] == "noncompliance"
    outcome = run("review", "--merge", first, second, "--out", tmp_path / "m.jsonl")
    assert outcome.status == 0
    assert "75.0 %" in outcome.out
    assert len([*read_labels(tmp_path / "m.jsonl")]) == 3
