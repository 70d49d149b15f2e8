"""One run at a time in a folder, or a file: a lock that the kernel takes back from a process that ends in any way."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from refusal_clf.records import InputError

if sys.platform != "win32":
    import fcntl

LOCK_FILE: Final = ".lock"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make a folder if it is not there, and keep other runs out of it while the block runs.

    A killed run leaves the file, but not the lock. Where there are no locks (Windows, some network file systems)
    nothing is kept out.

    Raises
    ------
    InputError
        If another run holds the folder, or it cannot be made or written.
    """
    make_directory(directory)
    with _held(directory / LOCK_FILE, directory, "another run is writing into this folder"):
        yield


@contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Keep other runs from a file that this one writes, as `locked` does for a folder, with a lock file beside it.

    What a killed run left of `writing.replacing` is swept away: nobody else is writing the file now.
    """
    make_directory(path.parent)
    with _held(path.with_name(f".{path.name}{LOCK_FILE}"), path, "another run is writing this file"):
        half_written = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.part")
        for left in path.parent.iterdir():
            if half_written.fullmatch(left.name):
                left.unlink(missing_ok=True)
        yield


@contextmanager
def _held(path: Path, target: Path, refusal: str) -> Iterator[None]:
    handle = _acquire(path, target, refusal)
    try:
        yield
    finally:
        # Removed while it is held: one who opened it before finds that it is no longer what lies there.
        with suppress(OSError):
            if _is_open_as(path, handle):
                path.unlink()
        os.close(handle)


def make_directory(directory: Path) -> None:
    """Make a folder with its parents; `InputError` if that cannot be."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make this folder ({error.strerror})", file=directory) from error


def _acquire(path: Path, target: Path, refusal: str) -> int:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", file=target) from error
        if sys.platform == "win32":
            return handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise InputError(refusal, file=target) from None
        except OSError:  # the file system has no locks
            return handle
        if _is_open_as(path, handle):
            return handle
        os.close(handle)


def _is_open_as(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
