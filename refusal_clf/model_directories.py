"""Where models lie: those that are packaged, told by name, and any exported directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from refusal_clf.records import InputError
from refusal_clf.runtime.layout import CONFIG_FILE

DEFAULT_MODEL: Final = "refusal-clf-minilm"


def find_model(model: str | Path | None = None) -> Path:
    """Return the directory of a packaged model or of a path.

    Raises
    ------
    InputError
        If neither exists; the message lists the packaged models.
    """
    name = str(model or DEFAULT_MODEL)
    packaged = available_models()
    if name in packaged:
        return packaged[name]
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    raise InputError(f"no model {name!r}: not a directory, and the packaged models are {', '.join(packaged) or 'none'}")


def available_models() -> dict[str, Path]:
    """Return the packaged models: name -> directory (in the wheel, or in `models/` of a clone)."""
    package = Path(__file__).parent
    found: dict[str, Path] = {}
    for root in (package / "models", package.parent / "models"):
        if root.is_dir():
            for config in sorted(root.glob(f"*/{CONFIG_FILE}")):
                found.setdefault(config.parent.name, config.parent)
    return found
