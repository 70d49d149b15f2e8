"""A model directory whose probabilities are another's at other temperatures; the weights stay as they are."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from refusal_clf.runtime.blend import Blend
from refusal_clf.runtime.layout import CARD_FILE, WEIGHT_FILES, HeadConfig, ModelConfig


def tempered(head: HeadConfig, temperature: float) -> HeadConfig:
    """Return a head whose scores are divided by a temperature above 0, with thresholds that follow.

    A threshold t becomes what a probability of t becomes where two labels share all of it, which is nearly so where
    a third is unlikely. At temperatures from 0.7 to 1.5, 5 % at most of the sample completions change their tier, and
    2.5 % their `uncertain` flag; at 3, a fifth do.
    """
    return replace(
        head,
        full=_divided(head.full, temperature),
        fast=_divided(head.fast, temperature),
        fast_above=_threshold(head.fast_above, temperature),
        uncertain_below=_threshold(head.uncertain_below, temperature),
    )


def write_tempered(
    source: Path, out: Path, config: ModelConfig, temperatures: Mapping[str, float], provenance: Mapping[str, Any]
) -> None:
    """Write a model directory with heads at other temperatures.

    Parameters
    ----------
    source, config
        The model's directory and configuration.
    out
        An existing directory.
    temperatures
        Head ("verdict", "refusal") -> temperature; a head that is not named stays as it is.
    provenance
        What is written as `refit` into the configuration's provenance.
    """
    for name in WEIGHT_FILES:
        shutil.copyfile(source / name, out / name)
    replace(
        config,
        verdict=tempered(config.verdict, temperatures.get("verdict", 1.0)),
        refusal=tempered(config.refusal, temperatures.get("refusal", 1.0)),
        provenance=config.provenance | {"refit": dict(provenance)},
    ).write(out)
    if (source / CARD_FILE).is_file():
        card = (source / CARD_FILE).read_text(encoding="utf-8")
        note = (
            "\n## Refitted\n\nProbabilities were refitted by `refusal-clf calibrate --refit`: `refit` in config.json.\n"
        )
        (out / CARD_FILE).write_text(card + note, encoding="utf-8")


def _divided(blend: Blend, temperature: float) -> Blend:
    return Blend(blend.encoder / temperature, blend.lexical / temperature)


def _threshold(value: float, temperature: float) -> float:
    if not 0 < value < 1:  # always, or never
        return value
    return 1 / (1 + math.exp(-math.log(value / (1 - value)) / temperature))
