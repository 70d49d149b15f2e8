"""What a measurement ran on, and the memory that it took: for printed and stored results."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from refusal_clf import __version__
from refusal_clf.runtime.encoder import available_processors

_PROCESS = Path("/proc/self/status")


def describe() -> dict[str, Any]:
    """Return processor, processors in use, memory (0 where the system does not say), system, versions and date."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "processor": _processor(),
        "processors_in_use": available_processors(),
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "onnxruntime": _onnxruntime(),
        "refusal_clf": __version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def line(machine: dict[str, Any]) -> str:
    """Return the description in one line."""
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items())


def peak_mib() -> float | None:
    """Return this process's peak resident memory; None on Windows, which has no such account.

    On Linux from its own account of the program: `ru_maxrss` would count what its parent held when it started it.
    """
    if _PROCESS.exists():
        peaks = [row.split()[1] for row in _PROCESS.read_text().splitlines() if row.startswith("VmHWM")]
        if peaks:
            return int(peaks[0]) / 1024
    if sys.platform == "win32":
        return None
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for row in cpuinfo.read_text().splitlines():
            if row.startswith("model name"):
                return row.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _onnxruntime() -> str:
    try:
        return version("onnxruntime")
    except PackageNotFoundError:  # its builds for accelerators have names of their own
        import onnxruntime

        return str(onnxruntime.__version__)
