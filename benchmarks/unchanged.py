"""How many ordinary responses the removal of disguises changes, and how many it flags.

    python benchmarks/unchanged.py FILE_OR_DIR...

Each completion is prepared with and without `disguise.reveal`; whatever differs is counted, and --show lists where.
Ends with status 1 if more than 0.1 % of the texts change or more than 0.5 % get one of its flags.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from refusal_clf import Completion, text
from refusal_clf.reading import read_completions

FLAGS = ("hidden_text", "obfuscated", "grader_injection")
MOST_CHANGED, MOST_FLAGGED = 0.001, 0.005


def main() -> None:
    """Compare, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", help="files of completions, or folders of them")
    parser.add_argument("--show", action="store_true", help="list the rows that differ: file, id and flags")
    options = parser.parse_args()
    n, changed, counted = 0, 0, Counter[str]()
    for file, completion in completions(options.paths):
        if not completion.response.strip():
            continue
        n += 1
        after = text.prepare(completion)
        with mock.patch.object(text, "reveal", lambda raw: (raw, ())):
            before = text.prepare(completion)
        flags = [flag for flag in FLAGS if flag in after.flags]
        counted.update(flags)
        counted["any"] += bool(flags)
        differs = after.response != before.response
        changed += differs
        if options.show and (differs or flags):
            print(f"{file.name} {completion.id}: {'changed ' * differs}{' '.join(flags)}")
    print(f"{n:,} responses; text changed: {changed} ({changed / n:.3%})")
    print(", ".join(f"{flag}: {counted[flag]} ({counted[flag] / n:.3%})" for flag in (*FLAGS, "any")))
    if changed > MOST_CHANGED * n or counted["any"] > MOST_FLAGGED * n:
        raise SystemExit(1)


def completions(paths: list[Path]) -> Iterator[tuple[Path, Completion]]:
    """Yield the completions of files, and of all JSON lines files in folders."""
    for path in paths:
        for file in sorted(path.rglob("*.jsonl*")) if path.is_dir() else [path]:
            for completion in read_completions(file):
                yield file, completion


if __name__ == "__main__":
    main()
