"""Score files or datasets with Ray Data: a pool of actors with one loaded classifier each, on one machine or many.

    python -m refusal_clf.integrations.ray_data IN OUT --workers 2

IN is a file or a folder of JSON lines or Parquet, OUT a folder of parts in the same format: every row of IN, in its
order, with the columns of `batches.VERDICT_COLUMNS`. Where Ray runs as a cluster, both are paths or URIs that all
of its machines reach (`s3://...`), and the model is installed on each.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from refusal_clf.classifier import TierChoice
from refusal_clf.cli.choices import metadata_of
from refusal_clf.cli.progress import say
from refusal_clf.formats import Row, SkippedRow, parse_line
from refusal_clf.integrations.batches import BatchScorer
from refusal_clf.reading import AUTO
from refusal_clf.records import InputError
from refusal_clf.streams import endings, split_lines

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem
    from ray.data import Dataset

ROWS_PER_FILE: Final = 10_000
"""Rows of a part of OUT, at least, but for the last."""

_BATCH: Final = 512
"""Rows judged together, as in the classifier's own stream."""
_BLOCK_BYTES: Final = 2**18
"""What a worker is handed at once: some hundred rows, so that a small file keeps several workers busy too, and a
dead worker costs a second's work. Ray's own 128 MiB would give all of CoCoNot to one of them."""
_CHUNK: Final = 2**20
_NO_CPU: Final = {"num_cpus": 0}
"""Reading and writing are not booked as processors: a pool that holds all of them would wait for ever for both."""
_ENDINGS: Final[dict[str, Literal["lines", "parquet"]]] = {
    ".jsonl": "lines", ".ndjson": "lines", ".json": "lines", ".parquet": "parquet",
}  # fmt: skip


def score_dataset(dataset: Dataset, scorer: BatchScorer, *, workers: int | None = None) -> Dataset:
    """Return a Ray dataset with the verdict columns added, computed when it is consumed.

    Parameters
    ----------
    dataset
        Rows under any of the names in `fields`.
    scorer
        Made with `BatchScorer.load`; a worker reserves as many processors as it has threads.
    workers
        Actors; default: as many as the cluster has processors for. A worker that dies is started again and its
        batches are judged again, as often as it takes: Ray Data's own rule.

    Raises
    ------
    InputError
        If Ray is not installed. What is wrong with a row is raised when the dataset is consumed.
    """
    return _pool(dataset, _TableWorker, scorer, workers)


def score_files(
    source: str | Path,
    out: str | Path,
    scorer: BatchScorer,
    *,
    workers: int | None = None,
    rows_per_file: int = ROWS_PER_FILE,
) -> None:
    """Score a file, or all files of a folder by name, into a folder of parts that sort in the order of the rows.

    JSON lines are parsed by the readers of `refusal-clf score` and keep every field as it was. The names of Parquet
    files are not looked at, unlike there: where only the name tells CoCoNot's subset, load the scorer with it.

    Parameters
    ----------
    source, out
        Paths, or URIs that pyarrow knows. `out` is made, or must be empty.
    scorer, workers
        As for `score_dataset`.
    rows_per_file
        The smallest number of rows of a part, but for the last.

    Raises
    ------
    InputError
        If Ray is not installed, if source or destination are unusable, or at the first row that cannot be used.
        The parts written until then stay, and are no result.
    """
    data = _ray_data()
    files = _find(source)
    target = _empty_folder(out)
    context = data.DataContext.get_current().copy()
    context.target_max_block_size = _BLOCK_BYTES
    context.execution_options.preserve_order = True
    context.raise_original_map_exception = True  # Ray's own, around it, would leave only its text
    with data.DataContext.current(context), _plain_errors():
        names = data.from_items([{"file": path} for path in files.paths], override_num_blocks=len(files.paths))
        reader, worker = (_ParquetReader, _TableWorker) if files.kind == "parquet" else (_LineReader, _LineWorker)
        rows = names.map_batches(reader(files.filesystem), batch_size=1, batch_format="pyarrow", **_NO_CPU)
        scored = _pool(rows, worker, scorer, workers)
        if files.kind == "parquet":
            scored.write_parquet(
                target.path, filesystem=target.filesystem, min_rows_per_file=rows_per_file, ray_remote_args=_NO_CPU
            )
        else:
            scored.write_datasink(_line_sink(target, rows_per_file), ray_remote_args=_NO_CPU)


@dataclass(frozen=True, slots=True)
class _Files:
    kind: Literal["lines", "parquet"]
    paths: list[str]
    filesystem: FileSystem


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    filesystem: FileSystem


@dataclass(frozen=True, slots=True)
class _LineReader:
    """Names of files -> their lines, streamed; blank lines are left out, as everywhere."""

    filesystem: FileSystem

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Yield the files' lines with the files' names and the lines' numbers."""
        for path in batch.column("file").to_pylist():
            try:
                # Arrow unpacks .gz and .zst by the name.
                with self.filesystem.open_input_stream(path) as stream:
                    lines = enumerate(split_lines(iter(lambda: stream.read(_CHUNK), b""), path), start=1)
                    while piece := list(islice(lines, _BATCH)):
                        yield _table(path, [(number, line) for number, line in piece if line.strip()])
            except OSError as error:
                raise InputError(str(error), file=path) from error


@dataclass(frozen=True, slots=True)
class _ParquetReader:
    """Names of files -> their rows, streamed."""

    filesystem: FileSystem

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Yield the files' rows."""
        import pyarrow as pa
        from pyarrow import parquet

        for path in batch.column("file").to_pylist():
            try:
                with self.filesystem.open_input_file(path) as stream:
                    for piece in parquet.ParquetFile(stream).iter_batches(_BATCH):
                        yield pa.Table.from_batches([piece])
            except (pa.ArrowException, OSError) as error:
                raise InputError(f"corrupt Parquet file ({str(error).splitlines()[0]})", file=path) from error


class _TableWorker:
    """An actor's work on typed rows."""

    def __init__(self, scorer: BatchScorer) -> None:
        self._scorer = scorer

    def __call__(self, batch: pa.Table) -> pa.Table:
        scored: pa.Table = self._scorer(batch)
        return scored


class _LineWorker:
    """An actor's work on raw JSON lines: what it does not judge it does not touch."""

    def __init__(self, scorer: BatchScorer) -> None:
        self._scorer = scorer

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        scored: list[bytes] = []
        for file, cells in groupby(batch.to_pylist(), key=itemgetter("file")):
            scored += self._score([parse_line(cell["number"], cell["line"]) for cell in cells], file)
        return pa.table({"line": pa.array(scored, pa.binary())})

    def _score(self, rows: list[Row | SkippedRow], file: str) -> Iterator[bytes]:
        usable = [row for row in rows if isinstance(row, Row)]
        for row in rows:
            if isinstance(row, SkippedRow) and self._scorer.on_error == "fail":
                raise InputError(row.reason, file=file, line=row.line)
        verdicts = iter(self._scorer.judge(usable, file=file, table=False))
        for row in rows:
            # What is no JSON object becomes one that says so: a job loses no line.
            own, verdict = (row.values, next(verdicts)) if isinstance(row, Row) else (asdict(row), None)
            self._scorer.check_free(own, file=file, line=row.line)
            yield _json_line({**own, **self._scorer.fields_of(verdict)})


def _pool(dataset: Dataset, worker: type, scorer: BatchScorer, workers: int | None) -> Dataset:
    data, processors = _ray_data(), scorer.threads or 1
    if workers is None:
        import ray

        workers = max(1, int(ray.cluster_resources().get("CPU", 1)) // processors)
    return dataset.map_batches(
        worker,
        fn_constructor_args=(scorer,),
        batch_size=_BATCH,
        batch_format="pyarrow",
        compute=data.ActorPoolStrategy(size=workers),
        num_cpus=processors,
    )


def _line_sink(target: _Folder, rows_per_file: int) -> Any:  # noqa: ANN401
    from ray.data.datasource import BlockBasedFileDatasink

    class Lines(BlockBasedFileDatasink):  # type: ignore[misc]
        """Files of JSON lines; a part that is written twice after a failure has one name and one content."""

        def write_block_to_file(self, block: Any, file: Any) -> None:  # noqa: ANN401
            for line in block.to_arrow().column("line"):
                file.write(line.as_buffer())

    return Lines(target.path, filesystem=target.filesystem, file_format="jsonl", min_rows_per_file=rows_per_file)


def _find(source: str | Path) -> _Files:
    """Return a file, or the files of a folder by name, and their one format."""
    from pyarrow.fs import FileSelector

    filesystem, path = _locate(source)
    info = filesystem.get_file_info(path)
    found = [info] if info.is_file else []
    if info.type.name == "Directory":
        hidden = (".", "_")  # what Hadoop's tools leave beside the data
        found = [
            one
            for one in sorted(filesystem.get_file_info(FileSelector(path)), key=lambda one: one.path)
            if one.is_file and not one.base_name.startswith(hidden)
        ]
    if not found:
        raise InputError("no such file or folder" if info.type.name == "NotFound" else "holds no files", file=source)
    kinds = {_ENDINGS.get(endings(Path(one.base_name))[1].lower()) for one in found}
    if len(kinds) > 1 or None in kinds:
        raise InputError("neither JSON lines (.jsonl) alone nor Parquet (.parquet) alone", file=source)
    return _Files(kinds.pop() or "lines", [one.path for one in found], filesystem)


def _empty_folder(out: str | Path) -> _Folder:
    from pyarrow.fs import FileSelector

    filesystem, path = _locate(out)
    info = filesystem.get_file_info(path)
    if info.is_file or (info.type.name == "Directory" and filesystem.get_file_info(FileSelector(path))):
        raise InputError("is there already; give another folder, or an empty one", file=out)
    return _Folder(path, filesystem)


def _locate(place: str | Path) -> tuple[FileSystem, str]:
    from pyarrow import ArrowInvalid
    from pyarrow.fs import FileSystem

    uri = str(place) if "://" in str(place) else str(Path(place).absolute())
    try:
        found: tuple[FileSystem, str] = FileSystem.from_uri(uri)
    except (ArrowInvalid, OSError) as error:
        raise InputError(str(error).splitlines()[0], file=place) from error
    return found


def _table(path: str, lines: list[tuple[int, bytes]]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "file": pa.array([path] * len(lines), pa.string()),
            "number": pa.array([number for number, _ in lines], pa.int64()),
            "line": pa.array([line for _, line in lines], pa.binary()),
        }
    )


def _json_line(row: dict[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can hold
        return json.dumps(row).encode() + b"\n"


def _ray_data() -> Any:  # noqa: ANN401
    try:
        import ray.data
    except ImportError as error:
        raise InputError("this needs Ray: pip install 'refusal-clf[ray]'") from error
    return ray.data


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise the `InputError` of a worker as itself, from under what Ray wraps around it."""
    try:
        yield
    except Exception as error:
        inner = getattr(error, "cause", None)
        if not isinstance(inner, InputError):
            raise
        raise InputError(inner.message, file=inner.file, line=inner.line) from error


def main() -> None:
    """Run the job of the command line: exit status 0, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m refusal_clf.integrations.ray_data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="IN", help="a file or folder of .jsonl (.gz, .zst) or .parquet")
    parser.add_argument("out", metavar="OUT", help="a folder, new or empty")
    parser.add_argument("--workers", type=int, help="actors; default: one for each processor")
    parser.add_argument("--threads", type=int, default=1, help="threads, and processors reserved, of each (default 1)")
    parser.add_argument("--model", help="a packaged model or a directory that every machine has")
    parser.add_argument("--tier", choices=get_args(TierChoice), default="auto")
    parser.add_argument("--suite", default=AUTO)
    parser.add_argument("--subset")
    parser.add_argument("--on-error", choices=("fail", "skip"), default="fail", help="skip: rows with null verdicts")
    parser.add_argument("--prefix", default="", help="before the new columns' names, if IN has some of them already")
    parser.add_argument("--rows-per-file", type=int, default=ROWS_PER_FILE, help="of OUT, at least")
    parser.add_argument("--address", help="a running Ray cluster; default: RAY_ADDRESS, else one on this machine")
    options = parser.parse_args()
    try:
        _ray_data()
        import ray

        scorer = BatchScorer.load(
            options.model,
            tier=options.tier,
            suite=options.suite,
            subset=options.subset,
            metadata=metadata_of(options.suite),
            on_error=options.on_error,
            threads=options.threads,
            prefix=options.prefix,
        )
        ray.init(address=options.address, ignore_reinit_error=True)
        score_files(options.source, options.out, scorer, workers=options.workers, rows_per_file=options.rows_per_file)
    except InputError as error:
        say(f"refusal-clf: error: {error}")
        sys.exit(2)


if __name__ == "__main__":
    # Under its own name, not as `__main__`: workers import what they run from the package.
    from refusal_clf.integrations import ray_data

    ray_data.main()
