"""Text from files made safe to show: it must not move the cursor, break a line or become markup."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_ANSI: Final = re.compile(
    r"\x1b\][^\x07\x1b]{0,4000}(?:\x07|\x1b\\)?"  # an operating-system command, e.g. a window title or a link
    r"|[\x1b][\[][0-?]*[ -/]*[@-~]?|\x9b[0-?]*[ -/]*[@-~]?"  # a control sequence, e.g. a colour
    r"|\x1b[ -/]*[0-~]?"
)
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>|~&#])")
_COMMAND: Final = re.compile(
    r"#(?=#(?:\[|vso\[|teamcity\[))"
    r"|:(?=:(?:add-mask|add-matcher|add-path|debug|echo|endgroup|error|group|notice|remove-matcher|save-state|set-env"
    r"|set-output|stop-commands|warning)\b)",
    re.IGNORECASE,
)
"""Runners of Azure, GitHub and TeamCity obey `##vso[...]`, `##[...]` and `##teamcity[...]` in what a step prints, and
GitHub's `::error ...::` where a line begins, as a name in a table's first column does, or a word that is folded."""
_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of control, formatting, surrogate, private and unassigned characters, and of other line ends."""
_JOINERS: Final = "\n\t\u200c\u200d"
"""Line breaks, tabs, and the joiners that many scripts and emoji are written with. The page's script has the same."""
_MENTION: Final = re.compile(r"@(?=\w)")


def printable(text: str, limit: int = 80) -> str:
    """Return text as one line without terminal sequences, control, bidirectional or unassigned characters.

    A command of a CI runner is broken by a space.

    Parameters
    ----------
    text
        Anything, surrogates included.
    limit
        Characters that are kept; an ellipsis marks what was cut.
    """
    # Bounded first: a name of megabytes must not cost more than a long one. The factor leaves room for what goes.
    text = _ANSI.sub("", text[: 40 * limit])
    text = " ".join("".join(" " if _unprintable(character) else character for character in text).split())
    text = _COMMAND.sub(r"\g<0> ", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def markdown_cell(text: str, limit: int = 80) -> str:
    """Return text that a Markdown table shows literally; a zero-width space keeps names from being notified."""
    return _MENTION.sub("@\u200b", _MARKDOWN.sub(r"\\\1", printable(text, limit)))


def pieces(text: str) -> list[str]:
    """Cut text at characters that are invisible or turn it around: text, code point, text, code point, …, text."""
    cut, first = [], 0
    # The line ends of Windows are line ends.
    text = text.replace("\r\n", "\n")
    for at, character in enumerate(text):
        if _unprintable(character) and character not in _JOINERS:
            cut += [text[first:at], f"U+{ord(character):04X}"]
            first = at + 1
    return [*cut, text[first:]]


def _unprintable(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE
