"""What a benchmark ran on, for its printed and stored results."""

from __future__ import annotations

import datetime
import os
import platform
import resource
from importlib.metadata import version
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Return processor, processors in use, memory, system, package versions and date."""
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    affinity = getattr(os, "sched_getaffinity", None)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "processor": processor,
        "processors_in_use": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
        "refusal_clf": version("refusal-clf"),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def peak_mib() -> float:
    """Return this process's peak resident memory.

    From Linux's own account of the program: `ru_maxrss` would count what its parent held when it started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(row.split()[1]) for row in status.read_text().splitlines() if row.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, on macOS


def line(machine: dict[str, Any]) -> str:
    """Return the description in one line."""
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items())
