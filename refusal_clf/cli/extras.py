"""What to say when a command's optional packages are not installed."""

from __future__ import annotations

from importlib.util import find_spec

from refusal_clf.records import InputError


def need(extra: str, *modules: str) -> None:
    """Check that an extra's packages are there, without importing them.

    Raises
    ------
    InputError
        With the pip line that mends it.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise InputError(f"this needs {', '.join(missing)}: pip install 'refusal-clf[{extra}]'")
