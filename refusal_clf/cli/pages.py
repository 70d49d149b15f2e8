"""What `--report html` writes: the items of a run with their texts, and the page around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refusal_clf.baseline import Run, read_run
from refusal_clf.desired import desired_of
from refusal_clf.pairing import Item, Pair
from refusal_clf.records import Completion, Label, Verdict
from refusal_clf.report.items import Entry, Sampler, changed, listing
from refusal_clf.report.page import write_page

if TYPE_CHECKING:
    from refusal_clf.calibration.assessment import Target
    from refusal_clf.calibration.matching import Scored
    from refusal_clf.classifier import RefusalClassifier, TierChoice
    from refusal_clf.comparison import Gate
    from refusal_clf.side_by_side import SideBySide
    from refusal_clf.summary import Group, Report


@dataclass(slots=True)
class ScorePage:
    """Gathers what the page of `score` shows while completions are judged; at most `MAX_ITEMS` of them are held."""

    title: str
    baseline: tuple[str, Sequence[Group]] | None = None
    _before: Mapping[tuple[str, str | None, str | None], Item] = field(default_factory=dict)
    _sampler: Sampler = field(default_factory=Sampler)

    @classmethod
    def beside(cls, title: str, baseline: Path | None) -> ScorePage:
        """Return a page, with an earlier run beside it if there is one."""
        from refusal_clf.scoring import summarise

        if baseline is None:
            return cls(title)
        items = read_run(baseline).items
        return cls(
            title, (baseline.name, summarise(item.verdict for item in items)), {item.key: item for item in items}
        )

    def add(self, completion: Completion, verdict: Verdict) -> None:
        """Take the next completion with its verdict."""
        item = Item(verdict, completion.prompt, completion.response)
        before = self._before.get(item.key) if verdict.id is not None else None
        self._sampler.add(_entry(item, before))

    def write(self, out: Path, report: Report, classifier: RefusalClassifier, tier: TierChoice) -> Path:
        """Write the page into the results folder and return its path; `classifier` explains what it answered."""
        from refusal_clf.report.deciding import explained
        from refusal_clf.report.pages.score import score_page

        items = self._sampler.listing(baseline=None if self.baseline is None else self.baseline[0])
        items = explained(items, classifier, tier)
        return write_page(out, score_page(self.title, report, items, baseline=self.baseline))


def write_calibration_page(
    out: Path, title: str, document: dict[str, Any], scored: Sequence[Scored], labels: Mapping[int, Label]
) -> Path:
    """Write the page of `calibrate` and return its path; `title` names the completions."""
    from refusal_clf.report.pages.calibration import calibration_page

    target: Target = document["target"]

    def entries() -> Iterator[Entry]:
        for at, one in enumerate(scored):
            label = None if at not in labels else _said(labels[at], target)
            texts = one.completion
            item = Item(one.verdict, texts.prompt if texts else None, texts.response if texts else None)
            yield Entry(item, label, None if label is None else label == _said(one.verdict, target))

    items = listing(entries(), judge=document["judge"])
    return write_page(out, calibration_page(f"{title} against {document['judge']}", document, items))


def write_check_page(
    out: Path, run: Path, baseline: Path | None, gate: Gate, now: Run, before: Run | None, desired: str | None
) -> Path:
    """Write the page of `check` and return its path."""
    from refusal_clf.report.pages.gate import gate_page

    old = {item.key: item for item in before.items} if before is not None else {}
    entries = (_entry(item, old.get(item.key), desired) for item in now.items)
    name = baseline.name if baseline is not None else None
    title = run.name if name is None else f"{run.name} against {name}"
    return write_page(out, gate_page(title, gate, listing(entries, baseline=name)))


def write_compare_page(out: Path, compared: SideBySide, runs: Mapping[str, Sequence[Item]]) -> Path:
    """Write the page of `compare` and return its path: the last run's items, and what became of the first run's."""
    from refusal_clf.report.pages.side_by_side import side_by_side_page

    first, *_, last = runs
    old = {item.key: item for item in runs[first]}
    entries = (_entry(item, old.get(item.key)) for item in runs[last])
    return write_page(out, side_by_side_page(compared, listing(entries, baseline=first)))


def write_evaluation_page(out: Path, document: dict[str, Any], tested: Iterable[tuple[Label, Verdict]]) -> Path:
    """Write the page of `evaluate` and return its path; `tested` are labels with the answers of folds without them."""
    from refusal_clf.report.pages.evaluation import evaluation_page

    def entries() -> Iterator[Entry]:
        for label, verdict in tested:
            target: Target = "refusal" if verdict.p_noncompliance is None else "verdict"
            said = _said(label, target)
            item = Item(verdict, label.completion.prompt, label.completion.response)
            yield Entry(item, said, None if said is None else said == _said(verdict, target))

    return write_page(out, evaluation_page("Evaluation", document, listing(entries(), judge="labels")))


def _entry(item: Item, before: Item | None, desired: str | None = None) -> Entry:
    if before is None:
        return Entry(item)
    wanted = desired_of(item.verdict.suite, item.verdict.subset) or desired
    return Entry(item, before=before, change=changed(Pair(before, item), wanted))


def _said(one: Label | Verdict, target: Target) -> str | None:
    return one.verdict if target == "verdict" else one.refusal
