"""What a model directory holds, said once: `export` writes it, `RefusalClassifier.load` reads it.

model.onnx          the encoder with both heads; inputs and output as in `runtime.encoder`
tokenizer.json      its word pieces (Hugging Face tokenizers)
lexical.safetensors the lexical tier: weights, squared_idf, bias
config.json         `ModelConfig`: labels, budgets, blends, thresholds, checksums, provenance
README.md           the model card
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from refusal_clf.formats import parse_json
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, InputError
from refusal_clf.runtime.blend import Blend
from refusal_clf.runtime.tokens import TokenBudget
from refusal_clf.writing import write_json

FORMAT_VERSION: Final = 2
ENCODER_FILE: Final = "model.onnx"
TOKENIZER_FILE: Final = "tokenizer.json"
LEXICAL_FILE: Final = "lexical.safetensors"
CONFIG_FILE: Final = "config.json"
CARD_FILE: Final = "README.md"
_CHECKSUM: Final = "config_sha256"
_MAX_CONFIG_BYTES: Final = 2**20
_MAX_FILE_BYTES: Final = 2**31
WEIGHT_FILES: Final = (ENCODER_FILE, TOKENIZER_FILE, LEXICAL_FILE)


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """One head: its labels, how each tier's scores become probabilities, and when the first tier suffices.

    `fast_above` is the probability from which the lexical tier's answer is taken without asking the encoder
    (above 1: never); `uncertain_below` the one below which an answer is flagged.
    """

    labels: tuple[str, ...]
    full: Blend
    fast: Blend
    fast_above: float = 1.01
    uncertain_below: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """`config.json`: everything about a model but its weights.

    `files` are the sha256 of its files and `opset` the version of ONNX's operators in its graph. Written beside them is
    `config_sha256`, over all the rest: a changed threshold would change verdicts as silently as a changed weight.
    """

    name: str
    verdict: HeadConfig
    refusal: HeadConfig
    budget: TokenBudget
    preparation_version: int
    features_version: int
    files: dict[str, str] = field(default_factory=dict)
    opset: int | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def write(self, directory: Path) -> None:
        """Write `config.json` into a model directory."""
        document = json.loads(json.dumps(asdict(self)))
        write_json(directory / CONFIG_FILE, {**document, _CHECKSUM: _digest(document)})


def read_config(directory: Path) -> ModelConfig:
    """Read and validate `config.json`.

    Raises
    ------
    InputError
        If the directory holds no model, or one of another format, label set or preparation version.
    """
    from refusal_clf.runtime.lexical import FEATURES_VERSION
    from refusal_clf.text import PREPARATION_VERSION

    path = directory / CONFIG_FILE
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ValueError(f"it has more than {_MAX_CONFIG_BYTES:,} bytes")
        raw = parse_json(path.read_text(encoding="utf-8"))
        checksum = raw.pop(_CHECKSUM, None)  # release 0.1 wrote none
        if checksum not in (None, _digest(raw)):
            raise InputError(f"does not match its own {_CHECKSUM}; export or install the model again", file=path)
        config = ModelConfig(
            name=str(raw["name"]),
            verdict=_head(raw["verdict"]),
            refusal=_head(raw["refusal"]),
            budget=_budget(raw["budget"]),
            preparation_version=int(raw["preparation_version"]),
            features_version=int(raw["features_version"]),
            files=dict(raw["files"]),
            opset=raw.get("opset", raw["provenance"].get("opset")),  # release 0.1 wrote it there
            provenance=dict(raw["provenance"]),
            format_version=int(raw["format_version"]),
        )
    except FileNotFoundError:
        raise InputError(f"not a model directory: it has no {CONFIG_FILE}", file=directory) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"unusable model configuration: {error!r}", file=path) from error
    for name, found, known in (
        ("format version", config.format_version, FORMAT_VERSION),
        ("text preparation version", config.preparation_version, PREPARATION_VERSION),
        ("feature version", config.features_version, FEATURES_VERSION),
        ("verdict labels", config.verdict.labels, VERDICTS),
        ("refusal labels", config.refusal.labels, REFUSAL_CLASSES),
    ):
        if found != known:
            raise InputError(f"{name} {found} is not what this release of refusal-clf knows ({known})", file=path)
    return config


def checksums(directory: Path, names: Sequence[str] = WEIGHT_FILES) -> dict[str, str]:
    """Return the sha256 of files of a model directory."""
    return {name: sha256_of(directory / name) for name in names}


def verify(directory: Path, config: ModelConfig, names: Sequence[str] = WEIGHT_FILES) -> None:
    """Compare files of a model directory with the checksums in its configuration.

    A link is followed to a file, as caches and some installers lay them out: its content has to have the checksum.

    Raises
    ------
    InputError
        If a file is missing, no regular file, larger than any model, or changed.
    """
    for name in names:
        path = directory / name
        if not path.is_file():
            raise InputError(f"the model directory has no {name}", file=directory)
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InputError(f"has more than {_MAX_FILE_BYTES // 2**20:,} MB, which no model of ours has", file=path)
        if sha256_of(path) != config.files.get(name):
            raise InputError(
                f"does not match its checksum in {CONFIG_FILE}; export or install the model again", file=path
            )


def sha256_of(path: Path) -> str:
    """Return a file's sha256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(document: Mapping[str, Any]) -> str:
    """Return a sha256 that knows no order and no layout of the fields."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _head(raw: dict[str, Any]) -> HeadConfig:
    return HeadConfig(
        labels=tuple(raw["labels"]),
        full=_blend(raw["full"]),
        fast=_blend(raw["fast"]),
        fast_above=float(raw["fast_above"]),
        uncertain_below=float(raw["uncertain_below"]),
    )


def _budget(raw: dict[str, Any]) -> TokenBudget:
    budget = TokenBudget(**{name: int(value) for name, value in raw.items()})
    if not 0 < budget.prompt + budget.response_tail < budget.total <= 512:
        raise ValueError(f"impossible token budget {budget}")
    return budget


def _blend(raw: dict[str, Any]) -> Blend:
    return Blend(float(raw["encoder"]), float(raw["lexical"]))
