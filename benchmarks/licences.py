"""List the licences of what an install brings, as their packages state them: docs/licences.md.

    python benchmarks/licences.py [--check]

Read from the metadata of the installed packages: the base install, then each extra, with all that they need in turn.

`--check` writes nothing and fails, exit status 1, if something that is installed is not in the file, or is there under
another kind of licence. So that no build fails that nobody touched, it passes over another wording of the same kind
("BSD License", "BSD-3-Clause") and over lines of packages that this Python, system or build of torch does without.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

TARGET = Path(__file__).parents[1] / "docs" / "licences.md"
SHIPPED_TO_USERS = (
    *("", "train", "parquet", "zstd", "trainer", "pandas", "hub", "judge", "serve", "plots"),
    *("polars", "duckdb", "sklearn"),
)
"""The extras that a development install has."""

HEAD = """\
# Licences of dependencies

Written by `python benchmarks/licences.py` in a development install, whose torch is the CPU build (the CUDA build brings
NVIDIA's libraries too, under NVIDIA's terms); nothing of them is shipped. The extras that such an install lacks are not
listed: `inspect`, `lm-eval`, `garak`, `ray`, `spark`, `browser`.
"""

CUDA_ONLY = re.compile(r"nvidia-|cuda-|triton$")
KINDS = (
    *("AGPL", "LGPL", "GPL", "MPL|Mozilla", "MIT", "BSD|0BSD", "Apache", "ISC", "PSF|Python", "CC0", "Zlib", "CNRI"),
    "BSL",
)
"""Patterns of kinds of licences, each from the start of a word; a licence is of every kind that its words name."""


def main() -> None:
    """Write the list, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = document()
    if options.check:
        sys.exit("\n".join(differences(TARGET.read_text(encoding="utf-8"), text)) or 0)
    TARGET.write_text(text, encoding="utf-8")


def differences(listed: str, installed: str) -> list[str]:
    """Return a line for each installed package that the list lacks, or has under another kind of licence."""
    known, lines = dict(entries(listed)), []
    for name, licence in entries(installed):
        if name not in known:
            lines.append(f"{TARGET.name} lacks {name} ({licence}): python benchmarks/licences.py")
        elif kinds(known[name]) != kinds(licence):
            lines.append(f"{TARGET.name} has {name} under {known[name]!r}; installed is {licence!r}")
    return lines


def entries(page: str) -> list[tuple[str, str]]:
    """Return the packages of a page with their licences."""
    rows = re.findall(r"^\| (\S+) \| (.+) \|$", page, re.MULTILINE)
    return [row for row in rows if row[0] not in ("package", "---")]


def kinds(licence: str) -> set[str]:
    """Return the kinds that a licence's words name; if they name none, the words."""
    return {kind for kind in KINDS if re.search(rf"\b({kind})", licence)} or {licence}


def document() -> str:
    """Return the list as Markdown: a package under the first extra that brings it."""
    seen: set[str] = set()
    parts = [HEAD]
    for extra in SHIPPED_TO_USERS:
        rows = sorted(licences("refusal-clf", extra, seen).items())
        if rows:
            title = f"The extra `{extra}`" if extra else "The base install"
            parts.append(f"\n## {title}\n\n| package | licence |\n| --- | --- |\n")
            parts += [f"| {name} | {licence} |\n" for name, licence in rows]
    return "".join(parts)


def licences(package: str, extra: str, seen: set[str]) -> dict[str, str]:
    """Return the licences of what a package needs under an extra, down to the last."""
    found: dict[str, str] = {}
    for line in distribution(package).requires or ():
        requirement = Requirement(line)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        if name in seen or CUDA_ONLY.match(name):
            continue
        try:
            metadata = distribution(name).metadata
        except PackageNotFoundError:
            continue  # needed on other systems or extras that are not installed
        seen.add(name)
        if name != "refusal-clf":
            found[name] = licence_of(metadata)
        for deeper in ("", *requirement.extras):
            found |= licences(name, deeper, seen)
    return found


def licence_of(metadata: object) -> str:
    """Return a package's licence: its SPDX expression, else its classifiers, else the first line of its own words."""
    get, get_all = metadata.get, metadata.get_all  # type: ignore[attr-defined]
    classifiers = [line.split(" :: ")[-1] for line in get_all("Classifier") or () if line.startswith("License ::")]
    words = (get("License") or "").strip().splitlines()[:1]
    return get("License-Expression") or ", ".join(classifiers) or "".join(words)[:80] or "not stated"


if __name__ == "__main__":
    main()
