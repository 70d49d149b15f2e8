"""Train both tiers on all examples, calibrate them, and write a training directory that `export` reads.

network.safetensors     weights of encoder and heads
encoder/config.json     the encoder's architecture (transformers)
tokenizer.json, lexical.safetensors, config.json    as in an exported model (`runtime.layout`)
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from refusal_clf import __version__
from refusal_clf.classifier import load_tokenizer
from refusal_clf.records import InputError
from refusal_clf.runtime.blend import answers
from refusal_clf.runtime.layout import LEXICAL_FILE, TOKENIZER_FILE, HeadConfig, ModelConfig
from refusal_clf.runtime.lexical import FEATURES_VERSION
from refusal_clf.runtime.tokens import TokenBudget
from refusal_clf.text import PREPARATION_VERSION
from refusal_clf.training.calibrate import fit_blend
from refusal_clf.training.crossfit import OutOfFold
from refusal_clf.training.dataset import IGNORE, Example, targets
from refusal_clf.training.finetune import FinetuneConfig, finetune, predict_logits
from refusal_clf.training.lexical import fit_lexical, save_lexical
from refusal_clf.training.network import from_base
from refusal_clf.training.protocols import make_folds
from refusal_clf.training.results import FAMILIES, LABELS

NETWORK_FILE: Final = "network.safetensors"
ENCODER_CONFIG: Final = "encoder"

_TOLERATED_LOSS: Final = 0.003
_TOLERATED_ERROR: Final = 0.02


def train(
    examples: Sequence[Example],
    base: Path,
    out: Path,
    *,
    name: str,
    config: FinetuneConfig,
    budget: TokenBudget,
    held_out: OutOfFold | None,
    data: dict[str, str],
    report: Callable[[str], None],
) -> None:
    """Train a model and write its training directory; a run that was cut off continues at its last epoch.

    Parameters
    ----------
    examples
        Labelled examples; a class that they lack is never answered.
    base
        A local transformers directory with a fast BERT tokenizer.
    out
        The training directory.
    held_out
        Scores to calibrate on, from `crossfit.cross_fit`. Without them a tenth of the prompts is kept out of
        training and calibrates instead, which does not show how unseen models differ.
    data
        sha256 of each labels file, for the provenance.
    """
    tokenizer = load_base_tokenizer(base)
    out.mkdir(parents=True, exist_ok=True)
    kept = list(examples)
    if held_out is None:
        fold = make_folds(examples, "grouped", 10)[0]
        kept, tested = ([examples[index] for index in part] for part in (fold.train, fold.test))
    lexical = fit_lexical(kept)
    network = finetune(
        from_base(base, config.seed), tokenizer, kept, config, budget, checkpoint_dir=out / "checkpoints", report=report
    )
    if held_out is None:
        scores = predict_logits(network, tokenizer, tested, budget), lexical.logits([e.text for e in tested])
        labels = targets(tested)
    else:
        scores, labels = (held_out.encoder, held_out.lexical), held_out.labels
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, out / NETWORK_FILE)
    network.encoder.config.save_pretrained(out / ENCODER_CONFIG)
    tokenizer.save(str(out / TOKENIZER_FILE))
    save_lexical(lexical, out / LEXICAL_FILE)
    ModelConfig(
        name=name,
        verdict=fit_head("verdict", *scores, labels),
        refusal=fit_head("refusal", *scores, labels),
        budget=budget,
        preparation_version=PREPARATION_VERSION,
        features_version=FEATURES_VERSION,
        provenance=_provenance(examples, base, config, held_out is not None, data),
    ).write(out)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)


def fit_head(
    family: str, encoder: NDArray[np.float32], lexical: NDArray[np.float32], labels: NDArray[np.int64]
) -> HeadConfig:
    """Fit one head's blends and thresholds on held-out scores of shape (n, 6) and labels of shape (n, 2)."""
    head, columns = FAMILIES[family]
    known = labels[:, head] != IGNORE
    truth, raw, words = labels[known, head], encoder[known, columns], lexical[known, columns]
    full, fast = fit_blend(raw, words, truth), fit_blend(None, words, truth)
    sure, quick = full.probabilities(raw, words), fast.probabilities(None, words)
    right_full, right_fast = (answers(probabilities, LABELS[family]) == truth for probabilities in (sure, quick))
    return HeadConfig(
        labels=LABELS[family],
        full=full,
        fast=fast,
        fast_above=_fast_above(quick.max(1), right_fast, right_full),
        uncertain_below=_uncertain_below(sure.max(1), right_full),
    )


def load_base_tokenizer(base: Path) -> Any:  # noqa: ANN401
    """Load the word-piece tokenizer of a base model directory.

    Raises
    ------
    InputError
        If the directory has no `tokenizer.json`, or one without BERT's special tokens.
    """
    if not (base / TOKENIZER_FILE).is_file():
        raise InputError(f"not a base model: it has no {TOKENIZER_FILE}", file=base)
    tokenizer = load_tokenizer(base / TOKENIZER_FILE)
    if any(tokenizer.token_to_id(token) is None for token in ("[CLS]", "[SEP]", "[MASK]")):
        raise InputError("not a BERT tokenizer: it lacks [CLS], [SEP] or [MASK]", file=base / TOKENIZER_FILE)
    return tokenizer


def _fast_above(confidence: NDArray[np.float32], right_fast: NDArray[np.bool_], right_full: NDArray[np.bool_]) -> float:
    """Return the lowest confidence from which the lexical tier may answer for both without real loss.

    Agreement with the labels may fall by `_TOLERATED_LOSS` at most against always asking the encoder.
    """
    for threshold in np.arange(0.5, 1.0, 0.005):
        mixed = np.where(confidence >= threshold, right_fast, right_full)
        if mixed.mean() >= right_full.mean() - _TOLERATED_LOSS:
            return round(float(threshold), 3)
    return 1.01


def _uncertain_below(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Return the lowest confidence above which at most `_TOLERATED_ERROR` of the answers were wrong."""
    for threshold in np.arange(0.34, 0.995, 0.005):
        above = confidence >= threshold
        if not above.any() or right[above].mean() >= 1 - _TOLERATED_ERROR:
            return round(float(threshold), 3)
    return 0.995


def _provenance(
    examples: Sequence[Example], base: Path, config: FinetuneConfig, out_of_fold: bool, data: dict[str, str]
) -> dict[str, Any]:
    packages = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy", "onnxruntime")
    return {
        "refusal_clf": __version__,
        "base": base.name if base.name != "model" else base.parent.name,
        "n_examples": len(examples),
        "n_verdicts": int((targets(examples)[:, 0] != IGNORE).sum()),
        "n_refusals": int((targets(examples)[:, 1] != IGNORE).sum()),
        "calibrated_on": "out-of-fold scores" if out_of_fold else "a tenth of the prompts, held out",
        "hyperparameters": asdict(config),
        "data": data,
        "python": platform.python_version(),
        "packages": {package: version(package) for package in packages},
    }
