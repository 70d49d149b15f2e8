"""Size of `report.html` and its time to interactive in Chromium, for a CoCoNot run and for the largest page.

    python benchmarks/report_page.py COMPLETIONS

The rows of the file are repeated up to each size, with new ids. Interactive: the first page of the list is drawn and
answers; filtering: from the input to the drawn result of a search. Needs the extra `browser` and a Chromium.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from machine import describe

from refusal_clf.classifier import RefusalClassifier
from refusal_clf.pairing import Item
from refusal_clf.reading import read_completions
from refusal_clf.report.items import Entry, listing
from refusal_clf.report.page import write_page
from refusal_clf.report.pages.score import score_page
from refusal_clf.scoring import GroupCounter

SIZES = (1_380, 20_000)
REPEATS = 5
SEARCH = """() => new Promise((done) => {
  const box = document.querySelector("[name=search]");
  const count = document.querySelector("#count");
  const start = performance.now();
  new MutationObserver(() => done(performance.now() - start)).observe(count, { childList: true });
  box.value = "sorry";
  box.dispatchEvent(new Event("input"));
})"""


def main() -> None:
    from playwright.sync_api import sync_playwright

    completions = list(read_completions(Path(sys.argv[1])))
    verdicts = list(RefusalClassifier.load().stream(completions))
    results = []
    with sync_playwright() as started, tempfile.TemporaryDirectory() as scratch:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for size in SIZES:
            counter, entries = GroupCounter(), []
            for number, (completion, verdict) in enumerate(
                islice(cycle(zip(completions, verdicts, strict=True)), size)
            ):
                one = replace(verdict, id=f"{verdict.id}-{number}")
                counter.add(one)
                entries.append(Entry(Item(one, completion.prompt, completion.response)))
            path = write_page(Path(scratch), score_page("benchmark", counter.report(), listing(entries)))
            ready, search = [], []
            for _ in range(REPEATS):
                page = browser.new_page()
                page.goto(path.as_uri())
                page.wait_for_selector("html[data-ready]")
                ready.append(page.evaluate("performance.getEntriesByName('ready')[0].startTime"))
                page.evaluate(SEARCH)  # the first search lowers all texts
                page.reload()
                page.wait_for_selector("html[data-ready]")
                search.append(page.evaluate(SEARCH))
                page.close()
            results.append(
                {
                    "items": size,
                    "megabytes": round(path.stat().st_size / 1e6, 2),
                    "interactive_ms": round(statistics.median(ready)),
                    "search_ms": round(statistics.median(search)),
                }
            )
            print(results[-1])
        browser.close()
    document = {"machine": describe(), "repeats": REPEATS, "pages": results}
    path = Path(__file__).parent / "results" / "report_page.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
