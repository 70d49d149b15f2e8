"""Results folders as baselines: read with the classifier that made them, and replaced as a whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from refusal_clf.comparison import CHECK_FILE
from refusal_clf.formats import parse_json
from refusal_clf.pairing import Item
from refusal_clf.records import InputError
from refusal_clf.writing import RESULT_FILES, RUN_FILE, SUMMARY_FILE, VERDICTS_FILE, read_verdicts


@dataclass(frozen=True, slots=True)
class Run:
    """The items of a run, and what judged them; None where the folder does not say.

    `judge` is the LLM that gave some of the verdicts (`score --judge`), None if there was none.
    """

    items: tuple[Item, ...]
    sha256: str | None
    tier: str | None
    judge: str | None = None


def read_run(folder: Path) -> Run:
    """Read the results folder of `score --out`.

    Raises
    ------
    InputError
        If it holds no finished run, or a file of it is damaged.
    """
    for name in (VERDICTS_FILE, SUMMARY_FILE):
        if not (folder / name).is_file():
            raise InputError(f"holds no finished run ({name} is missing)", file=folder)
    summary, run = _document(folder / SUMMARY_FILE), _document(folder / RUN_FILE)
    model = summary.get("model")
    sha256, tier = model.get("sha256") if isinstance(model, dict) else None, run.get("tier")
    return Run(
        tuple(Item(verdict) for verdict in read_verdicts(folder)),
        sha256 if isinstance(sha256, str) else None,
        tier if isinstance(tier, str) else None,
        judge["name"] if isinstance(judge := run.get("judge"), dict) and isinstance(judge.get("name"), str) else None,
    )


def check_replaceable(target: Path) -> None:
    """Raise `InputError` if a folder holds anything but the results of a run and of its check: it would be lost."""
    known = {*RESULT_FILES, CHECK_FILE}
    others = sorted(path.name for path in target.iterdir() if path.name not in known) if target.exists() else []
    if others:
        raise InputError(f"holds other files than results ({others[0]}), and is not replaced", file=target)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `target` if the block succeeds and vanishes if it does not.

    Whoever reads `target` meanwhile finds the old results or the new ones, never a mixture; for the moment between two
    renames, nothing. An interrupt in that moment puts the old results back. A process killed in it leaves them as `old`
    in the hidden folder beside `target`.

    Raises
    ------
    InputError
        If `target` is not replaceable (`check_replaceable`) or cannot be written.
    """
    target = target.resolve()
    check_replaceable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=target) from error
    new, old = scratch / "new", scratch / "old"
    try:
        new.mkdir()
        yield new
        try:
            if target.exists():
                target.rename(old)
            new.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
    finally:
        # If putting back failed too, the scratch folder holds the only copy.
        if target.exists() or not old.exists():
            shutil.rmtree(scratch, ignore_errors=True)


def _document(path: Path) -> dict[str, object]:
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"is damaged ({error})", file=path) from error
    if not isinstance(document, dict):
        raise InputError("is damaged (no JSON object)", file=path)
    return document
