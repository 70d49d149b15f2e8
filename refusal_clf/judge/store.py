"""Every call to a judge, in one SQLite file: what was answered is never paid for again, whatever ends a run."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from refusal_clf.records import InputError

_VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE batches (
    token TEXT PRIMARY KEY,        -- ours; sent as metadata, so that a submission without an answer is found again
    batch_id TEXT,                 -- the endpoint's; null until it answered
    state TEXT NOT NULL,           -- open, closed
    submitted TEXT NOT NULL
);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,             -- digest of judge, form, template version, rubric and item
    judge TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    rubric TEXT,                   -- its name; null under XSTest's form
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,           -- open, answered, lost (may have been billed), failed (was not)
    answer TEXT,                   -- as the judge gave it
    finish_reason TEXT,
    answered_by TEXT,              -- the model that the endpoint names
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    seconds REAL,
    cost REAL NOT NULL,            -- USD; while open, and when lost, the most it can be; 0 if the price is not known
    reason TEXT,                   -- why there is no answer
    started TEXT NOT NULL,
    batch TEXT REFERENCES batches (token),
    max_tokens INTEGER             -- the longest answer that was asked for; null in calls of layout 1
);
CREATE INDEX calls_by_key ON calls (key);
"""


_CUT: Final = frozenset({"length", "max_tokens", "model_length"})
"""What endpoints call it; the last where the context window was full."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a judge said. Tokens are None if the endpoint does not count them; `seconds` is None in batches.

    `max_tokens` is the longest answer that was asked for, None if that is not known.
    """

    text: str
    finish_reason: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    max_tokens: int | None = None

    @property
    def cut(self) -> bool:
        """Whether it ends where a limit was reached: the one on its length, or the end of the context window."""
        return self.finish_reason in _CUT


@dataclass(frozen=True, slots=True)
class Call:
    """A call about to be made; `most` is the most USD that it can cost, `max_tokens` the longest answer asked for."""

    key: str
    attempt: int
    most: float
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch whose answers were not collected; `batch_id` is None if its submission was never confirmed."""

    token: str
    batch_id: str | None


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls that were answered or may have been billed, with the tokens and USD of all of them.

    `unpriced` are those among them whose price was not known, or nothing, when they were made.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    lost: int = 0
    unpriced: int = 0


class Store:
    """The calls of one judge in a file that one process at a time may use.

    >>> with Store(Path("labels.sqlite"), judge="gpt-4o", prompt_version="1", rubric=None) as store:  # doctest: +SKIP
    ...     store.answers(["0f3a…"])
    """

    def __init__(self, path: Path, *, judge: str, prompt_version: str, rubric: str | None) -> None:
        self._path = path
        self._constants = (judge, prompt_version, rubric)

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"cannot be opened ({error})", file=self._path) from error
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def answers(self, keys: Collection[str]) -> dict[str, list[Answer]]:
        """Return the answers to questions, oldest first; questions without one are left out."""
        wanted, found = set(keys), dict[str, list[Answer]]()
        columns = "key, answer, finish_reason, answered_by, prompt_tokens, completion_tokens, seconds, max_tokens"
        for key, *columns_of_answer in self._db.execute(
            f"SELECT {columns} FROM calls WHERE state = 'answered' ORDER BY id"  # noqa: S608
        ):
            if key in wanted:
                found.setdefault(key, []).append(Answer(*columns_of_answer))
        return found

    def spent(self, keys: Collection[str]) -> Spent:
        """Return what questions have cost in all runs."""
        wanted, calls, tokens_in, tokens_out, cost, lost, unpriced = set(keys), 0, 0, 0, 0.0, 0, 0
        columns = "key, state, prompt_tokens, completion_tokens, cost"
        for key, state, prompt, completion, usd in self._db.execute(
            f"SELECT {columns} FROM calls WHERE state <> 'failed'"  # noqa: S608
        ):
            if key in wanted:
                calls += 1
                tokens_in += prompt or 0
                tokens_out += completion or 0
                cost += usd
                lost += state == "lost"
                unpriced += usd == 0 and (prompt, completion) != (0, 0)
        return Spent(calls, tokens_in, tokens_out, cost, lost, unpriced)

    def begin(self, call: Call, batch: str | None = None) -> int:
        """Record a call before it is made; until it is ended it counts as the most it can cost."""
        cursor = self._db.execute(
            "INSERT INTO calls (judge, prompt_version, rubric, key, attempt, state, cost, started, batch, max_tokens)"
            " VALUES (?, ?, ?, ?, ?, 'open', ?, ?, ?, ?)",
            (*self._constants, call.key, call.attempt, call.most, _now(), batch, call.max_tokens),
        )
        return int(cursor.lastrowid or 0)

    def answered(self, call: int, answer: Answer, cost: float) -> None:
        """Record a call's answer and what it cost in USD."""
        self._db.execute(
            "UPDATE calls SET state = 'answered', answer = ?, finish_reason = ?, answered_by = ?, prompt_tokens = ?,"
            " completion_tokens = ?, seconds = ?, cost = ? WHERE id = ?",
            (
                answer.text,
                answer.finish_reason,
                answer.model,
                answer.prompt_tokens,
                answer.completion_tokens,
                answer.seconds,
                cost,
                call,
            ),
        )

    def failed(self, call: int, reason: str) -> None:
        """Record that a call got no answer and costs nothing."""
        self._db.execute("UPDATE calls SET state = 'failed', reason = ?, cost = 0 WHERE id = ?", (reason, call))

    def lost(self, call: int, reason: str) -> None:
        """Record that a call got no answer that arrived, but may have been billed."""
        self._db.execute("UPDATE calls SET state = 'lost', reason = ? WHERE id = ?", (reason, call))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything in the block or nothing."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def begin_batch(self, token: str, calls: Sequence[Call]) -> None:
        """Record a batch and its calls before it is submitted."""
        with self.transaction():
            self._db.execute("INSERT INTO batches VALUES (?, NULL, 'open', ?)", (token, _now()))
            for call in calls:
                self.begin(call, token)

    def batch_submitted(self, token: str, batch_id: str) -> None:
        """Record the name that the endpoint gave to a batch."""
        self._db.execute("UPDATE batches SET batch_id = ? WHERE token = ?", (batch_id, token))

    def batch_lost(self, token: str, reason: str) -> None:
        """Record that a batch cannot be collected any more; its calls may have been billed."""
        self._db.execute(
            "UPDATE calls SET state = 'lost', reason = ? WHERE batch = ? AND state = 'open'", (reason, token)
        )
        self.batch_closed(token)

    def batch_closed(self, token: str) -> None:
        """Record that nothing more will come of a batch; its calls that are still open were not made."""
        self._db.execute("UPDATE batches SET state = 'closed' WHERE token = ?", (token,))
        self._db.execute(
            "UPDATE calls SET state = 'failed', cost = 0, reason = 'not answered in the batch'"
            " WHERE batch = ? AND state = 'open'",
            (token,),
        )

    def open_batches(self) -> list[OpenBatch]:
        """Return this judge's batches that were not collected, oldest first."""
        rows = self._db.execute(
            "SELECT token, batch_id FROM batches WHERE state = 'open'"
            " AND token IN (SELECT batch FROM calls WHERE judge = ?) ORDER BY submitted",
            (self._constants[0],),
        )
        return [OpenBatch(token, batch_id) for token, batch_id in rows]

    def calls_of(self, token: str) -> dict[tuple[str, int], tuple[int, float]]:
        """Return a batch's open calls: key and attempt -> number and the most it can cost."""
        rows = self._db.execute("SELECT key, attempt, id, cost FROM calls WHERE batch = ? AND state = 'open'", (token,))
        return {(key, attempt): (number, cost) for key, attempt, number, cost in rows}

    def _prepare(self) -> None:
        """Take the file for this process, make its tables, and give up the calls that an earlier run left open."""
        try:
            # The lock lives as long as the process: a killed run leaves none behind.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            # Each answer is on the disk before the next call: a power cut loses none either.
            self._db.execute("PRAGMA synchronous = FULL")
            [(version,)] = self._db.execute("PRAGMA user_version")
            if version == 0:
                self._make_tables()
            elif version == 1:
                self._db.executescript(
                    "BEGIN; ALTER TABLE calls ADD COLUMN max_tokens INTEGER; PRAGMA user_version = 2; COMMIT;"
                )
            elif version != _VERSION:
                raise InputError(f"was written by another version (layout {version}, not {_VERSION})", file=self._path)
            reason = "the run ended before the answer came"
            self._db.execute(
                "UPDATE calls SET state = 'lost', reason = ? WHERE state = 'open' AND batch IS NULL", (reason,)
            )
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise InputError("is in use by another run", file=self._path) from error
            raise InputError(f"cannot be used ({error})", file=self._path) from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"is no store of judge calls ({error})", file=self._path) from error

    def _make_tables(self) -> None:
        [(tables,)] = self._db.execute("SELECT count(*) FROM sqlite_master")
        if tables:
            raise InputError("is a database of something else", file=self._path)
        self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")


def read_calls(path: Path) -> list[dict[str, Any]]:
    """Return every call in a store that no run is using, as plain rows in the order in which they were made."""
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in db.execute("SELECT * FROM calls ORDER BY id")]
    finally:
        db.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
