"""Files -> completions and labels: the border where every row is checked, once.

Files are streamed; `formats` knows their endings, `fields` their field names and `suites` what their rows belong to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, cast

from refusal_clf.fields import FieldError, Fields, MissingFieldError, fold_names, read_fields, text_of
from refusal_clf.formats import Row, SkippedRow, is_table, read_rows
from refusal_clf.formats import skipped as skip_row
from refusal_clf.records import (
    REFUSAL_CLASSES,
    STRATEGIES,
    VERDICTS,
    Completion,
    InputError,
    Label,
    RefusalName,
    Sampled,
    VerdictName,
)
from refusal_clf.repeats import Repeats, SeenIds, repeated
from refusal_clf.streams import check_readable, name_of, stem_of
from refusal_clf.suites import SuiteMetadata, known_suite, place

__all__ = ["SkippedRow", "read_completions", "read_labels", "read_prompts"]

AUTO: Final = "auto"
UNNAMED_JUDGE: Final = "unnamed"
"""The judge of labels that name none."""

_COCONOT_VERDICTS: Final[dict[str, VerdictName]] = {"acceptable": "noncompliance", "unacceptable": "compliance"}


def read_completions(
    path: Path,
    *,
    suite: str = AUTO,
    subset: str | None = None,
    on_error: Literal["fail", "skip"] = "fail",
    skipped: Callable[[SkippedRow], None] | None = None,
    metadata: SuiteMetadata | None = None,
    repeats: Repeats | None = None,
) -> Iterator[Completion]:
    """Yield the completions of a file in its order, needing the memory of one row, and 12 bytes for each id.

    Parameters
    ----------
    path
        JSON lines, a JSON array, CSV, TSV or Parquet, each also as .gz or .zst; "-" is standard input (JSON lines).
    suite
        A name in `suites.SUITES`, or "auto": the row's own, else what its metadata tell, else "generic".
    subset
        Overrides the rows' own.
    on_error
        "skip" hands unusable rows to `skipped` and goes on; what spoils the whole file is raised in any case.
    skipped
        Called with each row left out.
    metadata
        A suite's prompts (`suites.load_suite`): rows found there by id or prompt get the metadata that they lack.
    repeats
        For a file that is read several times: where the first reading to the end puts the rows whose id was seen
        before, and later ones take them from, without the bytes for each id.

    Raises
    ------
    InputError
        At the call, if the suite or subset is unknown or the file missing; while reading, at the first unusable
        row, naming file and line. A row is unusable if it has no response field, if its response is no text, or
        if its id was seen before in the same suite, subset and model.
    """
    forced = check_suite(suite, subset)
    check_readable(path)
    rows = _placed_rows(path, suite=forced, subset=subset, metadata=metadata, need_response=True)
    return _completions(path, rows, on_error, skipped, repeats or Repeats())


def read_prompts(
    path: Path, *, suite: str = AUTO, subset: str | None = None, metadata: SuiteMetadata | None = None
) -> Iterator[Completion]:
    """Yield the prompts of a file in its order, as completions whose response is empty unless the file has one.

    Parameters are those of `read_completions`.

    Raises
    ------
    InputError
        At the call, if the suite or subset is unknown or the file missing; while reading, at the first row without a
        prompt or with an id seen before.
    """
    forced = check_suite(suite, subset)
    check_readable(path)
    rows = _placed_rows(path, suite=forced, subset=subset, metadata=metadata, need_response=False)
    return _prompts(path, _completions(path, rows, "fail", None, Repeats()))


def read_labels(path: Path, *, column: str | None = None) -> Iterator[Label]:
    """Yield the labels of a file in its order.

    A row names its completion by `id`, or by prompt and response, and gives `verdict` or `refusal` or both; the
    field `human` of XSTest files is a refusal class whose judge is "human". Null, and `neither` as a refusal class,
    are no label; a row all of whose labels are such is left out. Rows that were drawn for labelling say how in
    `strategy`, `stratum` and `inclusion_probability`.

    Parameters
    ----------
    path
        A file of any format that `read_completions` reads.
    column
        Take the refusal class from this field and name the judge after it, for example "gpt4" in XSTest files.

    Raises
    ------
    InputError
        At the first row without a label field, with an unknown label, without a completion, or labelled before by
        the same judge.
    """
    check_readable(path)
    return _labels(path, column)


def check_suite(suite: str, subset: str | None) -> str | None:
    """Return the suite that a user's choice forces on every row, None for "auto".

    Raises
    ------
    InputError
        If there is no such suite, or it has no such subset.
    """
    if suite == AUTO:
        return None
    subsets = known_suite(suite).subsets
    if subset is not None and subsets and subset not in subsets:
        raise InputError(f"unknown subset '{subset}' of the suite '{suite}' (known: {', '.join(subsets)})")
    return suite


def _placed_rows(
    path: Path, *, suite: str | None, subset: str | None, metadata: SuiteMetadata | None, need_response: bool
) -> Iterator[tuple[Row, Fields] | SkippedRow]:
    """Yield each row with its fields, or why it has none."""
    stem = stem_of(path)
    for row in read_rows(path):
        if isinstance(row, SkippedRow):
            yield row
            continue
        try:
            fields = read_fields(row.values, need_response=need_response)
        except MissingFieldError as error:
            if is_table(path):
                raise InputError(str(error), file=path, line=None if ".parquet" in path.name else 1) from error
            yield skip_row(row.line, str(error), row.raw)
        except FieldError as error:
            yield skip_row(row.line, str(error), row.raw)
        except RecursionError:
            yield skip_row(row.line, "a field is nested too deeply", row.raw)
        else:
            yield row, place(fields, suite=suite, subset=subset, metadata=metadata, file=stem)


def _completions(
    path: Path,
    rows: Iterator[tuple[Row, Fields] | SkippedRow],
    on_error: Literal["fail", "skip"],
    skipped: Callable[[SkippedRow], None] | None,
    repeats: Repeats,
) -> Iterator[Completion]:
    used = unused = 0
    repetition = repeats.reading()
    for number, found in enumerate(rows):
        bad = found if isinstance(found, SkippedRow) else repetition(number, *found)
        if bad is not None:
            if on_error == "fail":
                raise InputError(bad.reason, file=name_of(path), line=bad.line)
            if skipped is not None:
                skipped(bad)
            unused += 1
            continue
        used += 1
        yield completion_from(cast("tuple[Row, Fields]", found)[1])
    repeats.complete = True
    if not used:
        raise InputError(f"no usable row ({unused} skipped)", file=name_of(path))


def _prompts(path: Path, completions: Iterator[Completion]) -> Iterator[Completion]:
    for number, completion in enumerate(completions, start=1):
        if not completion.prompt.strip():
            raise InputError(f"row {number} has no prompt", file=name_of(path))
        yield completion


def completion_from(fields: Fields) -> Completion:
    """Return the completion that a placed row describes."""
    return Completion(
        prompt=fields.prompt,
        response=fields.response,
        id=fields.id,
        suite=fields.suite or "generic",
        subset=fields.subset,
        category=fields.category,
        subcategory=fields.subcategory,
        model=fields.model,
    )


def _labels(path: Path, column: str | None) -> Iterator[Label]:
    name, source, seen = name_of(path), stem_of(path), SeenIds()
    for found in _placed_rows(path, suite=None, subset=None, metadata=None, need_response=False):
        if isinstance(found, SkippedRow):
            raise InputError(found.reason, file=name, line=found.line)
        row, fields = found
        try:
            values = fold_names(row.values)
            verdict, refusal, judge = _read_label(values, fields, column)
            sampled = _read_sampled(values)
        except FieldError as error:
            raise InputError(str(error), file=name, line=row.line) from error
        if verdict is None and refusal is None:
            continue
        if fields.id is None and not (fields.prompt and fields.response):
            raise InputError(
                "no id, and no prompt with a response, to tell the completion by", file=name, line=row.line
            )
        if (bad := repeated(seen, row, fields, judge)) is not None:
            raise InputError(bad.reason, file=name, line=row.line)
        queue = text_of(values.get("queue"))
        yield Label(completion_from(fields), verdict, refusal, judge, source, sampled, queue)


def _read_label(
    values: dict[str, Any], fields: Fields, column: str | None
) -> tuple[VerdictName | None, RefusalName | None, str]:
    """Return the verdict, the refusal class and who gave them."""
    judge = text_of(values.get("judge"))
    if column is not None:
        if column not in values:
            raise FieldError(f"no field '{column}' (found: {', '.join(values)})")
        return None, _refusal(values[column], column), column
    if "verdict" in values or "refusal" in values:
        verdict = _verdict(values.get("verdict"), fields.subset)
        return verdict, _refusal(values.get("refusal"), "refusal"), judge or UNNAMED_JUDGE
    if "human" in values:
        return None, _refusal(values["human"], "human"), "human"
    raise FieldError(f"no field 'verdict', 'refusal' or 'human' (found: {', '.join(values)})")


def _read_sampled(values: dict[str, Any]) -> Sampled | None:
    strategy, chance = text_of(values.get("strategy")), values.get("inclusion_probability")
    if strategy is None and text_of(chance) is None:
        return None
    try:
        probability = float(chance)  # type: ignore[arg-type]  # a table's cell is text
    except (TypeError, ValueError):
        probability = 0.0
    if not 0 < probability <= 1:
        raise FieldError(f"field 'inclusion_probability' is {str(chance)[:40]!r}, not a number above 0 and up to 1")
    if strategy not in STRATEGIES:
        raise FieldError(f"field 'strategy' is {str(strategy)[:40]!r}, not one of {', '.join(STRATEGIES)}")
    return Sampled(strategy, text_of(values.get("stratum")) or "", probability)


def _verdict(value: object, subset: str | None) -> VerdictName | None:
    text = (text_of(value) or "").lower()
    if text in ("", *VERDICTS):
        return cast("VerdictName", text) if text else None
    if text in _COCONOT_VERDICTS and subset != "contrast":  # the words of CoCoNot's judge on its original set
        return _COCONOT_VERDICTS[text]
    raise FieldError(f"field 'verdict' is '{text[:40]}', not one of {', '.join(VERDICTS)}")


def _refusal(value: object, field: str) -> RefusalName | None:
    text = re.sub(r"^\d_", "", (text_of(value) or "").lower())  # XSTest's judge writes "1_full_compliance"
    if text in ("", "neither"):
        return None
    if text in REFUSAL_CLASSES:
        return text
    raise FieldError(f"field '{field}' is '{text[:40]}', not one of {', '.join(REFUSAL_CLASSES)}")
