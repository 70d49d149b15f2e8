"""HTML by one rule: text is escaped unless it is `Html`, and only `tag` and `join` make `Html`.

A template engine would be a seventh package of the base install for what these forty lines do.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from refusal_clf.report.escaping import pieces

_VOID: Final = {"meta", "br", "hr", "input"}


class Html(str):
    """Markup that is put into a page as it is; a plain `str` beside it is escaped."""

    __slots__ = ()


Child = str | Html | None
"""What an element may hold; None is left out."""


def tag(element: str, /, *children: Child | Iterable[Child], **attributes: str | float | bool | None) -> Html:
    """Return an element.

    Parameters
    ----------
    element
        Its name, a constant of the code.
    children
        Texts, which are escaped, and `Html`, which is not; iterables of them are flattened.
    attributes
        Values are escaped. A trailing underscore is dropped (`class_`) and others become hyphens (`aria_label`);
        True gives an attribute without a value, False and None leave it out.
    """
    shown = []
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            shown.append(f" {key}")
        elif value is not None and value is not False:
            shown.append(f' {key}="{escape(_number(value))}"')
    start = f"<{element}{''.join(shown)}>"
    return Html(start if element in _VOID else f"{start}{join(*children)}</{element}>")


def wide_table(*children: Child | Iterable[Child], class_: str | None = None) -> Html:
    """Return a table that scrolls sideways where it is wider than the page, by keyboard too."""
    return tag("div", tag("table", *children, class_=class_), class_="wide", tabindex="0")


def join(*children: Child | Iterable[Child]) -> Html:
    """Return children one after the other, escaped unless they are `Html`."""
    parts = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            parts.append(str(child))
        elif isinstance(child, str):
            parts.append(escape(child))
        else:
            parts.append(str(join(*child)))
    return Html("".join(parts))


def name(text: str, limit: int = 160) -> Html:
    """Return a name from a file, isolated from the direction of what stands around it.

    Characters that are invisible or that turn the text around are shown by their code points, so that nobody is
    misled by what they do not see.
    """
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    parts = (tag("span", part, class_="ctl") if at % 2 else part for at, part in enumerate(pieces(shown)))
    return tag("bdi", parts)


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
