"""Verdicts and summaries -> files: the layout of a results folder, in one place."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, get_args

from refusal_clf.formats import Row, SkippedRow, parse_json, read_rows
from refusal_clf.locking import make_directory
from refusal_clf.ratings import CoconotRow
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, InputError, Tier, Verdict

VERDICTS_FILE: Final = "verdicts.jsonl"
SUMMARY_FILE: Final = "summary.json"
RUN_FILE: Final = "run.json"
SKIPPED_FILE: Final = "skipped.jsonl"
COCONOT_FILE: Final = "compliance_coconot.tsv"
REPORT_FILE: Final = "report.html"
RESULT_FILES: Final = (VERDICTS_FILE, SUMMARY_FILE, RUN_FILE, SKIPPED_FILE, COCONOT_FILE, REPORT_FILE)
"""Everything that `score --out` writes, and all that `--overwrite` removes."""

_CHUNK: Final = 2**20
_NAMELESS: Final = {errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EROFS} | (
    {errno.EDQUOT} if hasattr(errno, "EDQUOT") else set()
)


@dataclass(frozen=True, slots=True)
class RunDir:
    """A results folder ready to be written; `done` completions are in `verdicts.jsonl` already."""

    path: Path
    done: int = 0


def open_run_dir(
    out: Path, *, overwrite: bool = False, resume: bool = False, run: Mapping[str, Any] | None = None
) -> RunDir:
    """Make a results folder ready, refusing to mix two runs.

    Parameters
    ----------
    out
        The folder; it is made if it does not exist.
    overwrite
        Remove the result files of an earlier run (`RESULT_FILES`, nothing else).
    resume
        Go on after the last complete line of an earlier run's `verdicts.jsonl`; a partial last line is dropped.
    run
        What identifies the run (input, model sha256, options), as JSON values. It is kept in `run.json`, and a
        resumed run must have the same.

    Raises
    ------
    InputError
        If results are there and neither option was given, if both were, if the run to resume was another one, or
        if the folder cannot be made.
    """
    if overwrite and resume:
        raise InputError("--overwrite and --resume exclude each other")
    make_directory(out)
    present = (out / VERDICTS_FILE).exists() or (out / SUMMARY_FILE).exists()
    if present and not overwrite and not resume:
        raise InputError("holds the results of another run; give --overwrite or --resume", file=out)
    identity = json.loads(json.dumps(run or {}))
    done = 0
    for left in (left for name in RESULT_FILES for left in out.glob(f".{name}.*")):
        left.unlink()  # half a file, of a run that was killed as it wrote it
    if overwrite:
        for name in RESULT_FILES:
            (out / name).unlink(missing_ok=True)
    elif resume and present:
        check_same_run(out / RUN_FILE, identity, out)
        done = complete_lines(out / VERDICTS_FILE)
    write_json(out / RUN_FILE, identity)
    return RunDir(out, done)


class VerdictWriter:
    """Appends verdicts to a folder's `verdicts.jsonl`, each call on disk before it returns.

    >>> with VerdictWriter(directory, resume=False) as writer:  # doctest: +SKIP
    ...     writer.write(verdicts)
    """

    def __init__(self, directory: Path, *, resume: bool) -> None:
        self._path = directory / VERDICTS_FILE
        self._mode = "a" if resume else "w"
        self._stream: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._stream = self._path.open(self._mode, encoding="utf-8", errors="replace", newline="\n")
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", file=self._path) from error
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        if kind is not None:
            with suppress(OSError):  # what ended the block is the news
                stream.close()
            return
        with naming(self._path), stream:
            os.fsync(stream.fileno())
            # Lines go on into a file that was deleted, and with them the results.
            if not os.path.samestat(os.fstat(stream.fileno()), self._path.stat()):
                raise FileNotFoundError(errno.ENOENT, "was replaced while it was written", str(self._path))

    def write(self, verdicts: Iterable[Verdict]) -> None:
        """Append a batch in its order."""
        if self._stream is None:
            raise ValueError("VerdictWriter is used outside its with block")
        with naming(self._path):
            self._stream.writelines(json_line(verdict.to_dict()) for verdict in verdicts)
            self._stream.flush()


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as JSON lines, all or nothing, and return how many there were."""
    count = 0
    with replacing(path) as stream:
        for row in rows:
            stream.write(json_line(row))
            count += 1
    return count


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write one indented JSON document, all or nothing. NaN is refused: no JSON reader must accept it."""
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
    with replacing(path) as stream:
        stream.write(text + "\n")


def write_summary(directory: Path, document: Mapping[str, Any]) -> Path:
    """Write `summary.json` and return its path."""
    write_json(directory / SUMMARY_FILE, document)
    return directory / SUMMARY_FILE


def write_skipped(directory: Path, rows: Iterable[SkippedRow]) -> Path:
    """Write `skipped.jsonl` (line, reason, raw) and return its path."""
    write_jsonl(directory / SKIPPED_FILE, (asdict(row) for row in rows))
    return directory / SKIPPED_FILE


def write_coconot_tsv(path: Path, rows: Iterable[CoconotRow]) -> None:
    """Write the table that CoCoNot's own score script writes, to the byte.

    Names come from users' files: one that a spreadsheet would take for a formula gets a leading apostrophe.
    """
    with replacing(path) as stream:
        stream.write("\t".join(("Category", *CoconotRow._fields[1:])) + "\n")
        for name, *values in rows:
            stream.write("\t".join((_safe_cell(name), *map(str, values))) + "\n")


def read_verdicts(path: Path) -> Iterator[Verdict]:
    """Yield the verdicts of a `verdicts.jsonl`, or of the results folder that holds one.

    Raises
    ------
    InputError
        At the first line that is no verdict, naming the field.
    """
    file = path / VERDICTS_FILE if path.is_dir() else path
    for row in read_rows(file):
        if isinstance(row, SkippedRow):
            raise InputError(row.reason, file=file, line=row.line)
        try:
            yield verdict_from(row)
        except ValueError as error:
            raise InputError(str(error), file=file, line=row.line) from error


def verdict_from(row: Row) -> Verdict:
    """Return the verdict that a row holds; `ValueError` names the field that is wrong."""
    values = row.values
    flags = values.get("flags", [])
    if not isinstance(flags, list) or not all(isinstance(flag, str) for flag in flags):
        raise ValueError("field 'flags' is not a list of names")
    return Verdict(
        id=_name(values, "id"),
        suite=_name(values, "suite") or "generic",
        subset=_name(values, "subset"),
        category=_name(values, "category"),
        subcategory=_name(values, "subcategory"),
        model=_name(values, "model"),
        verdict=_choice(values, "verdict", VERDICTS),
        p_noncompliance=_probability(values, "p_noncompliance"),
        refusal=None if values.get("refusal") is None else _choice(values, "refusal", REFUSAL_CLASSES),
        p_refusal=_probability(values, "p_refusal"),
        tier=_choice(values, "tier", get_args(Tier)),
        flags=tuple(flags),
    )


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """Open a temporary file that takes the place of `path` if the block succeeds and vanishes if it does not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=path) from error
    temporary = Path(name)
    try:
        with (
            naming(path),
            os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as stream,
        ):
            yield stream
            stream.flush()
            os.fsync(stream.fileno())  # or a power cut could leave the new name on an empty file
        # mkstemp makes files that only their owner reads; results are for colleagues too.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def completing(path: Path) -> Iterator[Path]:
    """Give a name to write a binary file under; it becomes `path` if the block succeeds and vanishes if not."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say which file it was that the system could not write: a full disk names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _NAMELESS:
            error.filename = str(path)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def json_line(row: Mapping[str, Any]) -> str:
    """Return a row as a line of JSON lines. NaN is refused."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def check_same_run(path: Path, identity: Mapping[str, Any], out: Path) -> None:
    """Raise `InputError` if the run that `path` describes is not the same; `out` is what cannot be resumed then."""
    try:
        earlier = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(earlier, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be resumed: {path.name} is missing or damaged; give --overwrite", file=out) from error
    changed = [key for key in {**earlier, **identity} if earlier.get(key) != identity.get(key)]
    if changed:
        key = changed[0]
        before, now = (json.dumps(record.get(key), ensure_ascii=False) for record in (earlier, identity))
        raise InputError(f"cannot be resumed: {key} was {before} and is {now}; give --overwrite", file=out)


def complete_lines(path: Path) -> int:
    """Count a file's complete lines and cut off what follows the last of them."""
    count = end = position = 0
    try:
        with path.open("r+b") as stream:
            while chunk := stream.read(_CHUNK):
                if newlines := chunk.count(b"\n"):
                    count, end = count + newlines, position + chunk.rindex(b"\n") + 1
                position += len(chunk)
            stream.truncate(end)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise InputError(f"cannot be resumed ({error.strerror})", file=path) from error
    return count


def _safe_cell(text: str) -> str:
    text = " ".join(text.split())
    # The wide forms are formulas to spreadsheets in East Asian settings.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else text


def _name(values: Mapping[str, Any], field: str) -> str | None:
    value = values.get(field)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"field '{field}' is not text")


def _choice(values: Mapping[str, Any], field: str, known: tuple[Any, ...]) -> Any:  # noqa: ANN401
    value = values.get(field)
    if value not in known:
        raise ValueError(f"field '{field}' is {json.dumps(value)[:40]}, not one of {', '.join(known)}")
    return value


def _probability(values: Mapping[str, Any], field: str) -> float | None:
    value = values.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"field '{field}' is not a probability")
    return float(value)
