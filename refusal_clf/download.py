"""`data pull`: a suite's prompts into the user's cache, from a local copy or from the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from refusal_clf.records import InputError
from refusal_clf.suites import SUITES, SuiteItem, cache_dir, index_items, known_suite, read_items
from refusal_clf.writing import write_json, write_jsonl

MANIFEST_FILE: Final = "manifest.json"

_CONNECT_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Source:
    """A data set on the Hub at a pinned commit: its files, by subset."""

    repository: str
    revision: str
    files: Mapping[str | None, str]


SOURCES: Final[dict[str, Source]] = {
    "coconot": Source(
        "allenai/coconot",
        "2cbe16aabf9069f17e48c8daad8aeabc29469eb7",
        {
            "original": "original/test-00000-of-00001.parquet",
            "contrast": "contrast/test-00000-of-00001.parquet",
        },
    ),
    # A public copy that keeps XSTest's ids; walledai/XSTest asks for a login and has none.
    "xstest": Source(
        "natolambert/xstest-v2-copy",
        "b71afe2a6d10e5a6254ea8bcb006c48b095a15d5",
        {None: "data/prompts-00000-of-00001.parquet"},
    ),
}
"""Revisions are pinned, so that a suite is the same prompts today and in a year."""

# Where local copies keep a subset's evaluation prompts, best first: this project's own layout, the authors'
# repository, the Hub's layouts.
_LOCAL: Final[dict[str, tuple[str, ...]]] = {
    "coconot": (
        "{subset}_eval.jsonl",
        "coconot_{subset}_eval.jsonl",
        "{subset}/test*.parquet",
        "{subset}/test*.jsonl",
        "{subset}/*eval*.jsonl",
        "{subset}/test/*.parquet",
    ),
    "xstest": (
        "prompts.jsonl",
        "prompts*.parquet",
        "xstest_prompts.csv",
        "xstest_v2_prompts.csv",
        "test*.parquet",
        "*.jsonl",
    ),
}


def pull(name: str, from_dir: Path | None = None, to: Path | None = None) -> Path:
    """Put a suite's prompts where `load_suite` finds them, and return that folder.

    Parameters
    ----------
    name
        "coconot" or "xstest".
    from_dir
        A local copy of the data; no network is used then. Without it the files of `SOURCES` are downloaded.
    to
        The folder to write; the user's cache if None.

    Raises
    ------
    InputError
        If the suite keeps no prompts, the copy lacks them, or the download fails.
    """
    suite = known_suite(name)
    if suite.files is None:
        choices = ", ".join(known for known, one in SUITES.items() if one.files is not None)
        raise InputError(f"the suite '{name}' has no data to pull (those that have: {choices})")
    target = to if to is not None else cache_dir(name)
    if from_dir is not None:
        found = {subset: _local_files(name, subset, from_dir) for subset in suite.files}
        return _store(target, suite.files, found, source=str(from_dir), revision=None)
    source = SOURCES[name]
    with tempfile.TemporaryDirectory() as folder:
        found = {subset: [_download(source, file, Path(folder))] for subset, file in source.files.items()}
        return _store(target, suite.files, found, source=f"hf://datasets/{source.repository}", revision=source.revision)


def _local_files(name: str, subset: str | None, folder: Path) -> list[Path]:
    """Return the files of a subset in a local copy: those of the first known layout that is there."""
    if not folder.is_dir():
        raise InputError("no such folder", file=folder)
    for layout in _LOCAL[name]:
        pattern = layout.format(subset=subset)
        if found := sorted(path for path in folder.rglob(pattern) if path.is_file()):
            return found if pattern == "*.jsonl" else found[:1]
    what = f"subset '{subset}' of '{name}'" if subset else f"suite '{name}'"
    raise InputError(f"no file of the {what} here (looked for {', '.join(_LOCAL[name])})", file=folder)


def _download(source: Source, file: str, folder: Path) -> Path:
    """Download one file of the pinned revision."""
    try:
        from huggingface_hub import constants, get_session, hf_hub_download
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as error:
        raise InputError(
            "downloading needs an extra: pip install 'refusal-clf[hub]' (or give a local copy with --from-dir)"
        ) from error
    # The client would report each retry and draw bars for files of a few kilobytes.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    disable_progress_bars()
    try:
        # Offline, the client retries for half a minute before it gives up; this fails at once.
        get_session().head(constants.ENDPOINT, timeout=_CONNECT_SECONDS)
        return Path(
            hf_hub_download(
                source.repository, file, repo_type="dataset", revision=source.revision, local_dir=str(folder)
            )
        )
    except Exception as error:  # the client raises its own, the HTTP library's and the system's errors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise InputError(
            f"cannot download {source.repository} ({reason}); give a local copy with --from-dir"
        ) from error


def _store(
    target: Path,
    names: Mapping[str | None, str],
    found: Mapping[str | None, list[Path]],
    *,
    source: str,
    revision: str | None,
) -> Path:
    """Write each subset in this project's layout, then the manifest that says where it is from."""
    # All is read before anything is written: a damaged copy must not replace half of a good one.
    contents: dict[str, tuple[SuiteItem, ...]] = {}
    for subset, paths in found.items():
        items = (item for path in paths for item in read_items(path, subset))
        contents[names[subset]] = index_items("", items).items
    files = {}
    for file, prompts in contents.items():
        rows = write_jsonl(target / file, map(asdict, prompts))
        digest = hashlib.sha256((target / file).read_bytes()).hexdigest()
        files[file] = {"rows": rows, "sha256": digest}
    write_json(target / MANIFEST_FILE, {"source": source, "revision": revision, "files": files})
    return target
