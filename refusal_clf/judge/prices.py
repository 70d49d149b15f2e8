"""What a judge's tokens cost, and the most that a call can cost before it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from refusal_clf.formats import parse_json
from refusal_clf.records import InputError

_MILLION: Final = 1e6
_DATED: Final = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")


@dataclass(frozen=True, slots=True)
class Price:
    """USD for a million tokens of a model's input and output."""

    input: float
    output: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the USD that a call costs."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / _MILLION

    def times(self, factor: float) -> Price:
        """Return the price with a discount."""
        return Price(self.input * factor, self.output * factor)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by model name; `batch_factor` is what the batch interface takes of them."""

    as_of: str
    batch_factor: float
    models: Mapping[str, Price]

    def find(self, model: str) -> Price | None:
        """Return the price of a model, a dated name (`gpt-4o-2024-08-06`) having that of the undated one."""
        return self.models.get(model) or self.models.get(_DATED.sub("", model))


def load_prices(path: Path | None = None) -> PriceTable:
    """Return the packaged price table, or one of the same layout from a file.

    Raises
    ------
    InputError
        If the file is no such table, naming the model whose price is wrong.
    """
    try:
        packaged = files("refusal_clf.judge").joinpath("prices.json")
        document = parse_json((path or packaged).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(error.strerror or str(error), file=path) from error
    except ValueError as error:
        raise InputError(f"not JSON ({error})", file=path) from error
    models = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, dict):
        raise InputError('is no price table: {"models": {NAME: {"input": USD, "output": USD}}}', file=path)
    factor = document.get("batch_factor", 1.0)
    if not _is_price(factor):
        raise InputError("'batch_factor' is not a number from 0 up", file=path)
    prices = {name: _price(name, row, path) for name, row in models.items()}
    return PriceTable(str(document.get("as_of", "unknown")), float(factor), prices)


def most_prompt_tokens(messages: list[dict[str, str]]) -> int:
    """Return a number of tokens that a chat cannot exceed.

    A token of the byte-level vocabularies in use stands for a byte at least; the template adds a few a message.
    """
    return sum(len(message["content"].encode("utf-8", "replace")) + 16 for message in messages) + 16


def _price(name: str, row: Any, path: Path | None) -> Price:  # noqa: ANN401
    values = [row.get(field) if isinstance(row, dict) else None for field in ("input", "output")]
    if not all(map(_is_price, values)):
        raise InputError(f"the price of '{name}' needs numbers 'input' and 'output' from 0 up", file=path)
    return Price(*(float(value) for value in values))  # type: ignore[arg-type]


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
