"""Rubrics as data: for each subcategory, what counts as noncompliance and what as compliance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from refusal_clf.formats import parse_json
from refusal_clf.records import InputError
from refusal_clf.rubrics import GENERIC, canonical_subcategory

_NONCOMPLIANCE: Final = ("noncompliance", "refusal", "acceptable")
_COMPLIANCE: Final = ("compliance", "unacceptable")
_NAMES: Final = ("subcategory", "sub_category", "category", "name")


@dataclass(frozen=True, slots=True)
class Description:
    """What a subcategory calls noncompliance and compliance, a few sentences each."""

    noncompliance: str
    compliance: str


@dataclass(frozen=True, slots=True)
class Rubric:
    """Descriptions by subcategory: canonical names, and names outside the taxonomy in lower case."""

    name: str
    descriptions: Mapping[str, Description]

    def find(self, subcategory: str | None) -> tuple[str, Description | None]:
        """Return the name and the description that judge a subcategory; None if the rubric lacks it.

        A subcategory that neither the rubric nor the taxonomy knows is judged by `generic`, as the classifier does.
        """
        key = _key(subcategory) if subcategory else GENERIC
        if key not in self.descriptions and canonical_subcategory(key) is None:
            key = GENERIC
        return key, self.descriptions.get(key)


def load_rubric(path: Path | None = None) -> Rubric:
    """Return the packaged rubric, or one from a file such as CoCoNot's `refusal_evaluation_rubric.json`.

    Parameters
    ----------
    path
        JSON or JSON lines: an object whose keys are subcategories, or categories that hold such an object, or a list
        of rows with a field `subcategory`. Descriptions are fields `noncompliance` (or `refusal`, `acceptable`) and
        `compliance` (or `unacceptable`). Empty descriptions count as missing.

    Raises
    ------
    InputError
        If the file cannot be read, holds no descriptions, describes one outcome only, or one subcategory twice.
    """
    if path is None:
        packaged = json.loads(files("refusal_clf.judge").joinpath("rubric.json").read_text(encoding="utf-8"))
        return Rubric(f"{packaged['name']} {packaged['version']}", dict(_entries(packaged["rubric"], path, GENERIC)))
    document = _read(path)
    if isinstance(document, dict) and isinstance(document.get("rubric"), dict | list):
        document = document["rubric"]
    descriptions: dict[str, Description] = {}
    for name, description in _entries(document, path, ""):
        if descriptions.setdefault(name, description) != description:
            raise InputError(f"describes '{name}' twice, differently", file=path)
    if not descriptions:
        raise InputError("holds no rubric: no subcategory with fields 'refusal' and 'compliance'", file=path)
    return Rubric(path.name, descriptions)


def _read(path: Path) -> Any:  # noqa: ANN401
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(error.strerror or str(error), file=path) from error
    except UnicodeDecodeError as error:
        raise InputError(f"not valid UTF-8 (byte {error.start + 1})", file=path) from error
    try:
        return parse_json(text)
    except ValueError as whole:
        # At line feeds only: JSON strings may hold every other line separator.
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        rows = []
        for number, line in lines:
            try:
                rows.append(parse_json(line))
            except ValueError as error:
                # A broken JSON document fails on its first line when it is read as JSON lines.
                reason = whole if number == lines[0][0] else error
                raise InputError(f"not JSON ({reason})", file=path, line=number if rows else None) from error
        return rows


def _entries(node: Any, path: Path | None, name: str) -> Iterator[tuple[str, Description]]:  # noqa: ANN401
    """Yield the descriptions in any of the shapes that `load_rubric` names."""
    if isinstance(node, list):
        for row in node:
            if isinstance(row, dict):
                given = next((row[field] for field in _NAMES if row.get(field)), "")
                yield from _entries(row.get("rubric", row), path, str(given))
    elif isinstance(node, dict):
        noncompliance, compliance = (_text(node, fields) for fields in (_NONCOMPLIANCE, _COMPLIANCE))
        if noncompliance is None and compliance is None:
            for key, child in node.items():
                if isinstance(child, dict | list):
                    yield from _entries(child, path, key)
        elif noncompliance and compliance:
            if not name:
                raise InputError("a description without a subcategory", file=path)
            yield _key(name), Description(noncompliance, compliance)
        elif noncompliance or compliance:
            lacking = _COMPLIANCE[0] if noncompliance else _NONCOMPLIANCE[0]
            raise InputError(f"'{name}' has no text for {lacking}", file=path)


def _text(node: Mapping[str, Any], fields: tuple[str, ...]) -> str | None:
    values = [node[field] for field in fields if isinstance(node.get(field), str)]
    return " ".join(values[0].split()) if values else None


def _key(name: str) -> str:
    return canonical_subcategory(name) or " ".join(name.lower().split())
