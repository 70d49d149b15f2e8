"""A batch of rows -> the same batch with verdict columns, for data frames, Spark, Hugging Face `datasets` and Ray Data.

>>> scorer = BatchScorer.load()
>>> scorer(frame)  # pandas, polars (also lazy), Arrow  # doctest: +SKIP
>>> dataset.with_format("arrow").map(scorer, batched=True)  # Hugging Face datasets  # doctest: +SKIP
>>> frame.mapInPandas(scorer, scorer.spark_schema(frame.schema))  # Spark  # doctest: +SKIP
>>> dataset.map_batches(scorer, batch_format="pyarrow")  # Ray Data  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from refusal_clf.classifier import RefusalClassifier, TierChoice
from refusal_clf.fields import (
    HARNESS,
    MESSAGES,
    PROMPT,
    RESPONSE,
    FieldError,
    MissingFieldError,
    fold_names,
    read_fields,
)
from refusal_clf.formats import Row
from refusal_clf.reading import AUTO, check_suite, completion_from
from refusal_clf.records import Completion, InputError, Verdict
from refusal_clf.streams import stem_of
from refusal_clf.suites import SuiteMetadata, place

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pyspark.sql.types import StructType

VERDICT_COLUMNS: Final = ("verdict", "p_noncompliance", "refusal", "p_refusal", "tier", "flags")
"""What a batch gains: text, except for two floats (null where nothing was judged) and `flags`, a list of text."""

_FLOATS: Final = frozenset({"p_noncompliance", "p_refusal"})
_SYNONYMS: Final = {"prompt": {*PROMPT, *MESSAGES}, "response": {*RESPONSE, *HARNESS}, "subcategory": {"sub_category"}}
"""What is not read where a column is named for a field."""
_BATCH: Final = "batch"
"""What an error calls the file of rows that come from none."""


@dataclass(frozen=True, slots=True)
class BatchScorer:
    """A picklable function from batches to batches; make one with `load`.

    Only the model's name and checksum travel to the workers. Each process loads the classifier once, at its first
    batch, and refuses to answer with another model than the one that `load` saw.

    Attributes
    ----------
    model, sha256
        The model's name or directory, the same on every machine, and its checksum.
    tier, threads
        As in `RefusalClassifier`; `threads` None: all processors that the process may use.
    suite, subset, metadata
        What the rows belong to, as in `reading.read_completions`.
    on_error
        `fail`: an unusable row raises `InputError`. `skip`: it stays, and its verdict columns are null.
    prefix
        Put before the names of the verdict columns, for batches that have columns of these names.
    named
        Fields (`prompt`, `response`, `subcategory`) with the columns that hold them, where `load` was told.
    """

    model: str | None
    sha256: str
    tier: TierChoice
    suite: str | None
    subset: str | None
    metadata: SuiteMetadata | None
    on_error: Literal["fail", "skip"]
    threads: int | None
    prefix: str
    named: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        tier: TierChoice = "auto",
        suite: str = AUTO,
        subset: str | None = None,
        metadata: SuiteMetadata | None = None,
        on_error: Literal["fail", "skip"] = "fail",
        threads: int | None = 1,
        prefix: str = "",
        prompt: str | None = None,
        response: str | None = None,
        subcategory: str | None = None,
    ) -> BatchScorer:
        """Make a scorer and check its model, here rather than on a worker minutes later.

        The default of one thread suits frameworks that run a process on each processor; pass None where one process
        has the machine to itself. Columns named for the prompt, the response or the subcategory are read in place of
        those that `fields` would find.

        Raises
        ------
        InputError
            If the model is unusable, or the suite or its subset unknown.
        """
        forced = check_suite(suite, subset)
        name = None if model is None else str(model)
        sha256 = _classifier(name, threads, os.getpid()).sha256
        given = {"prompt": prompt, "response": response, "subcategory": subcategory}
        named = tuple((field, column) for field, column in given.items() if column is not None)
        return cls(name, sha256, tier, forced, subset, metadata, on_error, threads, prefix, named)

    @property
    def columns(self) -> dict[str, str]:
        """The new columns' names -> the fields of `Verdict` that they hold."""
        return {self.prefix + name: name for name in VERDICT_COLUMNS}

    def __call__(self, batch: Any) -> Any:  # noqa: ANN401
        """Return a batch of the same kind, rows and order, with the verdict columns behind its own.

        Parameters
        ----------
        batch
            A pandas or polars data frame, an Arrow table or record batch, a mapping of columns (lists or arrays), or
            an iterator of these, which is answered by an iterator. A lazy frame of polars stays lazy. Columns are found
            under the names of `fields`, or those that `load` was told.

        Raises
        ------
        InputError
            If it is no such batch, if no column holds responses, if a verdict column is there already, at a row that
            cannot be used (unless `on_error` is "skip"), or if this machine's model is not the one that the scorer was
            made with.
        """
        if isinstance(batch, Iterator):
            return map(self, batch)
        if isinstance(batch, Mapping):
            return self._score_mapping(batch)
        if hasattr(batch, "to_pylist"):
            return self._score_arrow(batch)
        if hasattr(batch, "with_columns"):
            return self._score_polars(batch)
        if hasattr(batch, "assign"):
            return self._score_pandas(batch)
        raise InputError(f"{type(batch).__name__} is no batch: give a data frame, an Arrow table or a dict of columns")

    def judge(self, rows: Iterable[Row], *, file: str = _BATCH, table: bool = True) -> list[Verdict | None]:
        """Return a verdict for each row, None for those that `on_error` skips.

        Parameters
        ----------
        rows
            Rows under whatever names `fields` knows.
        file
            Where they come from: named in errors, and in its name CoCoNot's subset and XSTest are recognised.
        table
            Whether all rows have the same columns, so that one without a response column is an error at any rate.
        """
        completions = [self.read(row, file=file, table=table) for row in rows]
        verdicts = self.classifier.stream((one for one in completions if one is not None), tier=self.tier)
        return [None if one is None else next(verdicts) for one in completions]

    @property
    def classifier(self) -> RefusalClassifier:
        """The classifier of this process.

        Raises
        ------
        InputError
            If it is not the one that `load` saw.
        """
        classifier = _classifier(self.model, self.threads, os.getpid())
        if classifier.sha256 != self.sha256:
            raise InputError(
                f"the model {classifier.name} of this worker has sha256 {classifier.sha256[:12]} and not "
                f"{self.sha256[:12]}: install the same refusal-clf everywhere"
            )
        return classifier

    def spark_schema(self, schema: StructType) -> StructType:
        """Return what `mapInPandas` needs to know: the schema of a Spark frame with the verdict columns."""
        from pyspark.sql.types import ArrayType, DoubleType, StringType, StructField, StructType

        types = {name: DoubleType() if name in _FLOATS else StringType() for name in VERDICT_COLUMNS}
        types["flags"] = ArrayType(StringType())
        return StructType([*schema.fields, *(StructField(new, types[name]) for new, name in self.columns.items())])

    def read(self, row: Row, *, file: str = _BATCH, table: bool = True) -> Completion | None:
        """Return a row as a completion, None if `on_error` skips it; the parameters are those of `judge`."""
        try:
            fields = read_fields(self._renamed(row.values) if self.named else row.values)
        except FieldError as error:
            if self.on_error == "fail" or (table and isinstance(error, MissingFieldError)):
                raise InputError(str(error), file=file, line=row.line) from error
            return None
        stem = stem_of(Path(file))
        return completion_from(place(fields, suite=self.suite, subset=self.subset, metadata=self.metadata, file=stem))

    def _renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row with the named columns under their fields' names, and no other that would be read as these."""
        unread = set().union(*(_SYNONYMS[field] for field, _ in self.named))
        kept = {name: value for name, value in fold_names(row).items() if name not in unread}
        for field, column in self.named:
            if column not in row:
                raise MissingFieldError(f"no column '{column}' for the {field} (found: {', '.join(map(str, row))})")
            kept[field] = row[column]
        return kept

    def check_free(self, names: Iterable[str], *, file: str = _BATCH, line: int | None = None) -> None:
        """Raise `InputError` if a verdict column would take the place of one of these."""
        if taken := self.columns.keys() & set(names):
            message = f"has a column '{min(taken)}' already: drop it, or give the scorer a prefix"
            raise InputError(message, file=file, line=line)

    def fields_of(self, verdict: Verdict | None) -> dict[str, Any]:
        """Return a row's values for the verdict columns; None for all of them if there is no verdict."""
        found = {} if verdict is None else verdict.to_dict()
        return {new: found.get(name) for new, name in self.columns.items()}

    def _score(self, batch: Any) -> dict[str, list[Any]]:  # noqa: ANN401
        """Return the new columns."""
        self.check_free(map(str, _names(batch)))
        verdicts = self.judge(rows_of(batch))
        found = [self.fields_of(verdict) for verdict in verdicts]
        return {new: [one[new] for one in found] for new in self.columns}

    def _score_mapping(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {**batch, **self._score(batch)}

    def _score_arrow(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        for new, values in self._score(batch).items():
            name = self.columns[new]
            kind = pa.float64() if name in _FLOATS else pa.list_(pa.string()) if name == "flags" else pa.string()
            # Types are said, not inferred: in a batch without a single flag they would be null.
            batch = batch.append_column(pa.field(new, kind), pa.array(values, kind))
        return batch

    def _score_polars(self, batch: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame | pl.LazyFrame:
        import polars as pl

        kinds = {name: pl.Float64() if name in _FLOATS else pl.String() for name in VERDICT_COLUMNS}
        types: dict[str, Any] = {new: kinds[name] for new, name in self.columns.items()}
        types[f"{self.prefix}flags"] = pl.List(pl.String)
        if isinstance(batch, pl.LazyFrame):
            schema = batch.collect_schema()
            self.check_free(schema.names())
            return batch.map_batches(self, schema={**schema, **types}, streamable=True)
        return batch.with_columns(pl.Series(new, values, types[new]) for new, values in self._score(batch).items())

    def _score_pandas(self, batch: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        return batch.assign(
            **{
                new: pd.Series(values, batch.index, "float64" if self.columns[new] in _FLOATS else "object")
                for new, values in self._score(batch).items()
            }
        )


def rows_of(batch: Any) -> Iterator[Row]:  # noqa: ANN401
    """Yield the rows of any kind of batch that `BatchScorer` takes, numbered from 1."""
    rows: Iterable[Mapping[Any, Any]]
    if isinstance(batch, Mapping):
        rows = (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
    elif hasattr(batch, "to_pylist"):
        rows = batch.to_pylist()
    elif hasattr(batch, "iter_rows"):
        rows = batch.iter_rows(named=True)
    else:
        rows = batch.to_dict("records")
    for number, row in enumerate(rows, start=1):
        yield Row(number, {str(name): _plain(value) for name, value in row.items()}, "")


def _names(batch: Any) -> Iterable[Any]:  # noqa: ANN401
    if isinstance(batch, Mapping):
        return batch
    names: Iterable[Any] = batch.column_names if hasattr(batch, "column_names") else batch.columns
    return names


@lru_cache(maxsize=4)
def _classifier(model: str | None, threads: int | None, process: int) -> RefusalClassifier:
    """Load a classifier once a process: a fork must not inherit one, whose threads stayed behind in its parent."""
    del process
    return RefusalClassifier.load(model, threads=threads)


def _plain(value: object) -> object:
    """Return a cell as JSON would hold it: data frames keep lists as arrays and have several kinds of missing."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    missing = type(value).__name__ in ("NAType", "NaTType") or value != value
    return None if missing else value
