"""`refusal-clf review`: label disagreements and doubtful items on a local page; merge two reviewers' files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from refusal_clf.cli.choices import JudgeName, Model, Subset, Suite, Threads, Tier, metadata_of
from refusal_clf.cli.labels import labels_in
from refusal_clf.cli.progress import say
from refusal_clf.records import Completion, InputError, Label, Verdict

if TYPE_CHECKING:
    from refusal_clf.review.merging import Merged
    from refusal_clf.review.store import LabelField

Queue = Literal["disagreements", "uncertain", "random"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("review")(_review)


def _review(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Completions, or a results folder of `score` (--texts).")
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option(metavar="FILE[:COLUMN]", help="A judge's labels; repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where your labels go; one that exists is gone on with.")
    ] = None,
    queue: Annotated[
        Queue | None,
        typer.Option(help="What to look at; default: disagreements if there are labels, else uncertain."),
    ] = None,
    ask: Annotated[
        Literal["verdict", "refusal", "both"], typer.Option(help="What to label before the next item comes.")
    ] = "both",
    reviewer: Annotated[str, typer.Option(metavar="NAME", help="Who labels.")] = "human",
    show: Annotated[bool, typer.Option("--show", help="Show the other labels before you label.")] = False,
    texts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The completions that a results folder was made of.")
    ] = None,
    merging: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--merge", metavar="A B", help="Merge two reviewers' files into --out and print their agreement."),
    ] = None,
    prefer: Annotated[
        Literal["first", "second"] | None, typer.Option(help="With --merge: whose label is taken in a conflict.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on loopback; 0: a free one.")] = 0,
    judge_name: JudgeName = None,
    suite: Suite = "auto",
    subset: Subset = None,
    model: Model = None,
    tier: Tier = "auto",
    threads: Threads = None,
) -> None:
    """Label what classifier and judge disagree on, or what is most uncertain, on a page of this machine alone.

    Example: refusal-clf review completions.jsonl --labels labels.jsonl --out mine.jsonl

    Two reviewers: refusal-clf review --merge anna.jsonl ben.jsonl --out merged.jsonl

    Keys: 1 2 3 verdict, q w e refusal class, u undo, s skip, arrows back and forth. Each label is saved at once.
    """
    if merging is not None:
        if file is not None:
            raise InputError("--merge takes two labels files and no FILE")
        _merge(*merging, out, prefer)
        return
    if file is None:
        raise InputError("give a FILE of completions, or --merge")
    if prefer is not None:
        raise InputError("--prefer has a meaning with --merge only")
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.judge.rubric import load_rubric
    from refusal_clf.locking import locked_file
    from refusal_clf.reading import read_completions
    from refusal_clf.review.items import make_queue
    from refusal_clf.review.server import Review, make_server
    from refusal_clf.review.store import open_store

    chosen: Queue = queue or ("disagreements" if labels else "uncertain")
    if chosen == "disagreements" and not labels:
        raise InputError("the queue 'disagreements' needs a judge's --labels")
    if file.is_dir() and texts is None:
        raise InputError("a results folder has no texts: give the completions it was made of, --texts FILE", file=file)
    if not file.is_dir() and texts is not None:
        raise InputError("--texts belongs to a results folder")
    completions = list(read_completions(texts or file, suite=suite, subset=subset, metadata=metadata_of(suite)))
    if file.is_dir():
        verdicts = _verdicts_of(file, completions)
    else:
        verdicts = RefusalClassifier.load(model, threads=threads).predict(completions, tier=tier)
    judged = _judged(completions, verdicts, labels, judge_name) if labels else {}
    items = make_queue(completions, verdicts, judged, chosen)
    path = out or Path(f"{(texts or file).stem}.review.jsonl")
    fields: tuple[LabelField, ...] = ("verdict", "refusal") if ask == "both" else (ask,)
    with locked_file(path):
        store = open_store(path, items, chosen, reviewer)
        server, address = make_server(Review(items, store, load_rubric(), fields, show=show), port)
        say(f"{len(items):,} items ({chosen}); labels go to {path}; Ctrl-C ends the review")
        if chosen != "random":
            say("these labels are no random sample: for rates (`calibrate`), label the queue 'random'")
        try:
            # Opening a browser would show the address, and with it the token, in the list of processes.
            typer.echo(address)
            server.serve_forever()
        except KeyboardInterrupt:
            say(f"labels are in {path}" if path.exists() else "no label was given")
        finally:
            server.server_close()


def _verdicts_of(folder: Path, completions: list[Completion]) -> list[Verdict]:
    """Return a run's verdicts, in the order of the completions that it was made of."""
    from refusal_clf.writing import read_verdicts

    verdicts = list(read_verdicts(folder))
    if [verdict.id for verdict in verdicts] != [completion.id for completion in completions]:
        raise InputError("was made of other completions than those of --texts", file=folder)
    return verdicts


def _judged(
    completions: list[Completion], verdicts: list[Verdict], labels: list[str], name: str | None
) -> dict[int, Label]:
    from refusal_clf.calibration.matching import Scored, choose_judge, match, text_key

    given = labels_in(labels)
    truth = "human" if all(label.judge == "human" for label in given) else "judge"
    scored = [Scored(verdict, text_key(one)) for one, verdict in zip(completions, verdicts, strict=True)]
    matches = match(scored, choose_judge(given, truth, name)[1])
    if not matches.rows:
        raise InputError(matches.describe(), file=labels[0])
    return matches.rows


def _merge(first: Path, second: Path, out: Path | None, prefer: Literal["first", "second"] | None) -> None:
    from refusal_clf.report.review import print_merged
    from refusal_clf.review.merging import merge
    from refusal_clf.writing import write_jsonl

    if out is None:
        raise InputError("--merge needs --out")
    if first.exists() and second.exists() and first.samefile(second):
        raise InputError("is given twice: its agreement with itself says nothing", file=second)
    if any(out.exists() and out.samefile(file) for file in (first, second) if file.exists()):
        raise InputError("is one of the files to merge: give another --out", file=out)
    merged: Merged = merge(first, second, prefer=prefer)
    write_jsonl(out, merged.rows)
    print_merged(merged, prefer)
    say(f"wrote {len(merged.rows):,} labels to {out}")
