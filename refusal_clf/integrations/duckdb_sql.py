"""Verdicts in SQL: a function of DuckDB's that judges a prompt with its response.

>>> import duckdb
>>> from refusal_clf.integrations.duckdb_sql import register
>>> connection = duckdb.connect()
>>> register(connection)
>>> connection.sql("SELECT id, refusal_clf(prompt, response).refusal FROM 'completions.jsonl'")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from refusal_clf.cli.extras import need
from refusal_clf.integrations.batches import BatchScorer

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

FUNCTION: Final = "refusal_clf"
_SCALAR: Final = "refusal_clf_scalar"
RETURNS: Final = (
    "STRUCT(verdict VARCHAR, p_noncompliance DOUBLE, refusal VARCHAR, p_refusal DOUBLE, tier VARCHAR, flags VARCHAR[])"
)


def register(connection: duckdb.DuckDBPyConnection, scorer: BatchScorer | None = None) -> None:
    """Give a connection the function ``refusal_clf(prompt, response, subcategory := NULL)``.

    It returns `RETURNS`, the columns of `batches.VERDICT_COLUMNS`, for vectors of rows at a time. A response that is
    NULL is an empty one; a prompt or subcategory that is NULL is not known.

    Parameters
    ----------
    connection
        DuckDB's.
    scorer
        Without a prefix and named columns; default: the packaged model with all processors.

    Raises
    ------
    InputError
        If pyarrow is missing, or the model is unusable.
    """
    need("duckdb", "pyarrow")
    judge = scorer or BatchScorer.load(threads=None)

    known = connection.execute("SELECT 1 FROM duckdb_functions() WHERE function_name = ?", [_SCALAR]).fetchall()
    if known:
        connection.remove_function(_SCALAR)  # a notebook's cell is run again
    connection.create_function(
        _SCALAR,
        # Not `_judged` itself, whose annotations DuckDB would evaluate.
        lambda prompt, response, subcategory: _judged(judge, prompt, response, subcategory),
        ["VARCHAR"] * 3,
        connection.type(RETURNS),
        type="arrow",
        null_handling="special",
    )
    # Functions from outside have no optional arguments; a macro has.
    connection.execute(
        f"CREATE OR REPLACE TEMP MACRO {FUNCTION}(prompt, response, subcategory := NULL) AS "
        f"{_SCALAR}(prompt, response, subcategory)"
    )


def _judged(scorer: BatchScorer, prompt: pa.Array, response: pa.Array, subcategory: pa.Array) -> pa.Array:
    import pyarrow as pa

    table = scorer(pa.table({"prompt": prompt, "response": response, "subcategory": subcategory}))
    return table.select(list(scorer.columns)).to_struct_array()
