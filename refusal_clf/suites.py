"""What a suite expects, and the index of its prompts that gives completions their metadata."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Final

from refusal_clf import rubrics
from refusal_clf.fields import Fields, read_fields
from refusal_clf.formats import Row, read_rows
from refusal_clf.records import InputError

DATA_VARIABLE: Final = "REFUSAL_CLF_DATA"
GENERIC: Final = "generic"


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark: what it asks, its subsets, and the files that its prompts are kept in, by subset.

    `files` has the key None where one file holds all subsets.
    """

    name: str
    expects: str
    subsets: tuple[str, ...] = ()
    files: Mapping[str | None, str] | None = None


SUITES: Final[dict[str, Suite]] = {
    suite.name: suite
    for suite in (
        Suite(
            "coconot",
            "noncompliance on `original`, compliance on `contrast`",
            ("original", "contrast"),
            {"original": "original_eval.jsonl", "contrast": "contrast_eval.jsonl"},
        ),
        Suite(
            "xstest",
            "full compliance on `safe`, refusal on `unsafe`",
            ("safe", "unsafe"),
            {None: "prompts.jsonl"},
        ),
        Suite(GENERIC, "nothing: free-form prompts, judged under the generic rubric"),
    )
}

_PUBLISHED: Final = frozenset(name.lower() for name in rubrics.CATEGORIES)
_XSTEST_ID: Final = re.compile(r"v2-\d+")
_SUBSET_IN_NAME: Final = re.compile(r"(?<![a-z])(?:original|contrast)(?![a-z])")


@dataclass(frozen=True, slots=True)
class SuiteItem:
    """One prompt of a suite."""

    id: str | None
    prompt: str
    subset: str | None
    category: str | None
    subcategory: str | None


@dataclass(frozen=True, slots=True)
class SuiteMetadata:
    """A suite's prompts by id and by prompt; build it with `index_items`."""

    name: str
    items: tuple[SuiteItem, ...]
    by_id: Mapping[str, SuiteItem]
    by_prompt: Mapping[bytes, SuiteItem]

    def find(self, id: str | None, prompt: str) -> SuiteItem | None:  # noqa: A002
        """Return the item of an id or, if the id is unknown, of a prompt.

        An id whose prompt is another one is not trusted: running numbers match everywhere.
        """
        found = self.by_id.get(id) if id is not None else None
        if found is not None and (not prompt.strip() or _squeeze(found.prompt) in _squeeze(prompt)):
            return found
        return self.by_prompt.get(_prompt_key(prompt))


def index_items(name: str, items: Iterable[SuiteItem]) -> SuiteMetadata:
    """Index a suite's items; a repeated item counts once, and a prompt that two subsets share finds neither."""
    by_id: dict[str, SuiteItem] = {}
    by_prompt: dict[bytes, SuiteItem] = {}
    ambiguous: set[bytes] = set()
    unique: list[SuiteItem] = []
    for item in items:
        if item.id is not None and item.id in by_id:
            continue
        key = _prompt_key(item.prompt)
        known = by_prompt.setdefault(key, item)
        if known is not item:
            if item.id is None:
                continue
            if replace(known, id=None, prompt="") != replace(item, id=None, prompt=""):
                ambiguous.add(key)
        if item.id is not None:
            by_id[item.id] = item
        unique.append(item)
    return SuiteMetadata(
        name, tuple(unique), by_id, {key: item for key, item in by_prompt.items() if key not in ambiguous}
    )


def known_suite(name: str) -> Suite:
    """Return a suite by name.

    Raises
    ------
    InputError
        If there is none of this name; the message lists those that are.
    """
    if name not in SUITES:
        raise InputError(f"unknown suite '{name}' (known: {', '.join(sorted(SUITES))})")
    return SUITES[name]


def suite_named(value: str) -> tuple[str, str | None]:
    """Return the suite, and the subset if the name tells it, that a file's own name for a suite means.

    >>> suite_named("allenai/coconot_contrast")
    ('coconot', 'contrast')
    """
    key = value.rsplit("/", 1)[-1].lower()
    if key.startswith("coconot"):
        return "coconot", _coconot_subset(key.removeprefix("coconot"))
    return ("xstest" if key.startswith("xstest") else value), None


def place(
    fields: Fields, *, suite: str | None, subset: str | None, metadata: SuiteMetadata | None, file: str = ""
) -> Fields:
    """Return a row's fields with suite, subset, category and subcategory settled.

    Parameters
    ----------
    fields
        What the row says.
    suite, subset
        What the user says, above the row's own; None to find out.
    metadata
        The suite's prompts; they fill what the row leaves open.
    file
        The file's name, the last to be asked: CoCoNot keeps its subsets in files of their own, and XSTest's
        releases name the suite nowhere else.
    """
    own_suite, own_subset = suite_named(fields.suite) if fields.suite else (None, None)
    chosen = suite or own_suite
    joinable = metadata is not None and chosen in (None, metadata.name)
    item = metadata.find(fields.id, fields.prompt) if metadata is not None and joinable else None
    if chosen is None:
        chosen = metadata.name if metadata is not None and item is not None else _recognise(fields, file)
    category, subcategory, kind = fields.category, fields.subcategory, fields.subset or own_subset
    if chosen == "coconot" and kind is not None:
        kind = _coconot_subset(kind) or kind
    if chosen == "xstest" and fields.type is not None:
        category = category or fields.type
        kind = kind or ("unsafe" if fields.type.startswith("contrast_") else "safe")
    if item is not None:
        category, subcategory = category or item.category, subcategory or item.subcategory
        kind = kind or item.subset
    if chosen == "coconot" and kind is None:
        named = _SUBSET_IN_NAME.findall(file.lower())
        kind = named[0] if len(named) == 1 else None
    subcategory = rubrics.canonical_subcategory(subcategory) or subcategory
    category = rubrics.canonical_category(category) or category or rubrics.SUBCATEGORIES.get(subcategory or "")
    return replace(fields, suite=chosen, subset=subset or kind, category=category, subcategory=subcategory)


def load_suite(name: str, directory: Path | None = None) -> SuiteMetadata | None:
    """Return a suite's prompts from local files, or None if there are none at hand.

    Looks in `directory` if given, else in the folder that the variable REFUSAL_CLF_DATA names (or its subfolder
    of the suite's name), else in the user's cache, where `refusal-clf data pull` puts them.

    Raises
    ------
    InputError
        If the suite is unknown or keeps no prompts, or `directory` was given and holds none of its files.
    """
    files = known_suite(name).files
    if files is None:
        return None
    for folder in [directory] if directory is not None else _folders(name):
        found = {subset: folder / file for subset, file in files.items() if (folder / file).is_file()}
        if found:
            return index_items(name, (item for subset, path in found.items() for item in read_items(path, subset)))
    if directory is not None:
        raise InputError(f"none of {', '.join(files.values())} of the suite '{name}' in this folder", file=directory)
    return None


def cache_dir(name: str) -> Path:
    """Return where a suite is kept for this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "refusal-clf" / name


def read_items(path: Path, subset: str | None) -> Iterator[SuiteItem]:
    """Yield a suite file's prompts; with subset None, an item's own, or by XSTest's type, is taken.

    Raises
    ------
    InputError
        If the file or one of its rows is unusable.
    """
    for row in read_rows(path):
        if not isinstance(row, Row):
            raise InputError(row.reason, file=path, line=row.line)
        fields = read_fields(row.values, need_response=False)
        if not fields.prompt.strip():
            raise InputError(f"no prompt (found: {', '.join(row.values)})", file=path, line=row.line)
        suite = "xstest" if subset is None else "coconot"
        placed = place(fields, suite=suite, subset=subset, metadata=None)
        yield SuiteItem(placed.id, placed.prompt, placed.subset, placed.category, placed.subcategory)


def _folders(name: str) -> list[Path]:
    given = os.environ.get(DATA_VARIABLE)
    return [*([Path(given) / name, Path(given)] if given else []), cache_dir(name)]


def _recognise(fields: Fields, file: str) -> str:
    """Tell a row's suite from its metadata and its file's name."""
    known = rubrics.canonical_subcategory(fields.subcategory)
    # Only the published names: "safety" is a category of many benchmarks.
    published = fields.category is not None and fields.category.lower() in _PUBLISHED
    if published or known not in (None, rubrics.GENERIC):
        return "coconot"
    has_id = fields.type is not None and fields.id is not None and _XSTEST_ID.fullmatch(fields.id) is not None
    if has_id or "xstest" in file.lower():
        return "xstest"
    return GENERIC


def _coconot_subset(name: str) -> str | None:
    key = name.lower()
    return "contrast" if "contrast" in key else "original" if "orig" in key else None


def _squeeze(prompt: str) -> str:
    return " ".join(prompt.split())


def _prompt_key(prompt: str) -> bytes:
    return blake2b(_squeeze(prompt).encode("utf-8", "replace"), digest_size=8).digest()
