"""One look for the figures that the README shows: an SVG for light pages and one for dark, from the same drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

mpl.use("svg")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a page: text, faint lines, what is ours in three shades, and what is others'."""

    name: str
    text: str
    faint: str
    ours: tuple[str, str, str]
    others: str


THEMES = (
    Theme("light", "#1f2328", "#d1d9e0", ("#0a3069", "#0969da", "#54aeff"), "#818b98"),
    Theme("dark", "#f0f6fc", "#3d444d", ("#a5d6ff", "#58a6ff", "#1f6feb"), "#9198a1"),
)


def draw(target: Path, figure: Callable[[Theme], Figure]) -> list[Path]:
    """Write `target`.light.svg and `target`.dark.svg, on transparent ground, and return their paths.

    Text stays text, so that it is sharp, can be searched and is set in the reader's own font.
    """
    written = []
    for theme in THEMES:
        style = {
            "font.family": "sans-serif",
            "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
            "font.size": 10,
            "text.color": theme.text,
            "axes.labelcolor": theme.text,
            "axes.edgecolor": theme.faint,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "grid.color": theme.faint,
            "grid.linewidth": 0.6,
            "xtick.color": theme.text,
            "ytick.color": theme.text,
            "legend.frameon": False,
            "savefig.transparent": True,
            "svg.fonttype": "none",
            "svg.hashsalt": target.name,  # the same figures give the same file
        }
        with mpl.rc_context(style):
            drawn = figure(theme)
            path = target.with_name(f"{target.name}.{theme.name}.svg")
            drawn.savefig(path, bbox_inches="tight", pad_inches=0.08, metadata={"Date": None})
            plt.close(drawn)
        written.append(path)
    return written
