"""List the licences of what an install brings, as their packages state them: docs/licences.md.

    python benchmarks/licences.py [--check]     # --check fails if the file is not what would be written

Read from the metadata of the installed packages: the base install, then each extra, with all that they need in turn.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

TARGET = Path(__file__).parents[1] / "docs" / "licences.md"
SHIPPED_TO_USERS = ("", "train", "parquet", "zstd", "trainer", "pandas", "hub", "judge", "plots")


def main() -> None:
    """Write the list, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = document()
    if options.check:
        sys.exit(0 if TARGET.read_text(encoding="utf-8") == text else f"{TARGET} is not up to date")
    TARGET.write_text(text, encoding="utf-8")


def document() -> str:
    """Return the list as Markdown: a package under the first extra that brings it."""
    seen: set[str] = set()
    parts = ["# Licences of dependencies\n\nWritten by `python benchmarks/licences.py`; nothing of them is shipped.\n"]
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
        if name in seen:
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
