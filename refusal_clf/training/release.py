"""Train both tiers on all examples, calibrate them, and write a training directory that `export` reads.

network.safetensors     weights of encoder and heads
encoder/config.json     the encoder's architecture (transformers)
activations.safetensors what goes into its linear layers, for 8 bits
tokenizer.json, lexical.safetensors, config.json    as in an exported model (`runtime.layout`)
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf import __version__
from refusal_clf.records import InputError
from refusal_clf.runtime.blend import answers
from refusal_clf.runtime.layout import CONFIG_FILE, LEXICAL_FILE, TOKENIZER_FILE, HeadConfig, ModelConfig, checksums
from refusal_clf.runtime.lexical import FEATURES_VERSION, LexicalModel
from refusal_clf.runtime.tokens import TokenBudget, encode, load_tokenizer
from refusal_clf.text import PREPARATION_VERSION
from refusal_clf.training.activations import ACTIVATIONS_FILE, record, save_activations
from refusal_clf.training.calibrate import (
    TOLERATED_ERROR,
    TierAnswers,
    fast_thresholds,
    fit_blend,
    selective_threshold,
)
from refusal_clf.training.crossfit import OutOfFold
from refusal_clf.training.dataset import IGNORE, Example, targets
from refusal_clf.training.families import DEFAULT_FAMILY, Family, fit_network
from refusal_clf.training.finetune import FinetuneConfig, predict_logits
from refusal_clf.training.lexical import fit_lexical, save_lexical
from refusal_clf.training.network import NETWORK_FILE, TwoHeadEncoder, save_network
from refusal_clf.training.protocols import make_folds
from refusal_clf.training.results import FAMILIES, LABELS
from refusal_clf.training.vocabulary import count_pieces, pieces_to_keep, shrink_embeddings, shrink_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAINING_FILES: Final = (NETWORK_FILE, ACTIVATIONS_FILE, TOKENIZER_FILE, LEXICAL_FILE)

_TOLERATED_LOSS: Final = 0.003
_TOLERATED_IN_GROUP: Final = 0.02
"""What agreement may fall by if the lexical tier answers what it is sure of: in all, and on the models of a fold."""
_SHOWN: Final = 400
"""Examples that the range of the activations is taken from."""


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
    family: Family = DEFAULT_FAMILY,
    vocabulary: int | None = None,
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
    family
        `encoder` or `embedding` (`families.fit_network`).
    vocabulary
        Keep only this many word pieces, those that the examples need most; the others are spelled with shorter ones.
    """
    tokenizer = load_base_tokenizer(base)
    out.mkdir(parents=True, exist_ok=True)
    kept = list(examples)
    if held_out is None:
        fold = make_folds(examples, "grouped", 10)[0]
        kept, tested = ([examples[index] for index in part] for part in (fold.train, fold.test))
    lexical = fit_lexical(kept)
    network = fit_network(
        family, base, tokenizer, kept, config, budget, checkpoint_dir=out / "checkpoints", report=report
    )
    if held_out is None:
        scores = predict_logits(network, tokenizer, tested, budget), lexical.logits([e.text for e in tested])
        labels, groups = targets(tested), np.zeros(len(tested), np.int64)
    else:
        scores, labels, groups = (held_out.encoder, held_out.lexical), held_out.labels, held_out.fold
    if vocabulary is not None:
        pieces = pieces_to_keep(tokenizer, count_pieces(tokenizer, [example.text for example in kept]), vocabulary)
        shrink_embeddings(network, pieces)
        tokenizer = shrink_tokenizer(tokenizer, pieces)
    provenance = provenance_of(examples, base, family, config, held_out is not None, data)
    write_training_dir(out, name, network, tokenizer, lexical, kept, scores, labels, groups, budget, provenance)


def write_training_dir(
    out: Path,
    name: str,
    network: TwoHeadEncoder,
    tokenizer: Tokenizer,
    lexical: LexicalModel,
    examples: Sequence[Example],
    scores: tuple[NDArray[np.float32], NDArray[np.float32]],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    budget: TokenBudget,
    provenance: dict[str, Any],
) -> None:
    """Calibrate both tiers on held-out `scores` (encoder, lexical), and write what `export` reads.

    `labels` and `groups` are those of the scores' rows (`fit_heads`).

    Some of the `examples` that were trained on show `export` what the encoder's activations look like.
    """
    # Gone until all is written: what a killed run leaves must not be exported with an earlier run's configuration.
    (out / CONFIG_FILE).unlink(missing_ok=True)
    save_network(network, out)
    shown = np.random.default_rng(0).permutation(len(examples))[:_SHOWN]
    save_activations(record(network, encode(tokenizer, [examples[index].text for index in shown], budget)), out)
    tokenizer.save(str(out / TOKENIZER_FILE))
    save_lexical(lexical, out / LEXICAL_FILE)
    verdict, refusal = fit_heads(*scores, labels, groups)
    ModelConfig(
        name=name,
        verdict=verdict,
        refusal=refusal,
        budget=budget,
        preparation_version=PREPARATION_VERSION,
        features_version=FEATURES_VERSION,
        files=checksums(out, TRAINING_FILES),
        provenance=provenance,
    ).write(out)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)


def fit_heads(
    encoder: NDArray[np.float32],
    lexical: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> tuple[HeadConfig, HeadConfig]:
    """Fit the blends and thresholds of verdict and refusal class.

    `encoder` and `lexical` are held-out scores of shape (n, 6), `labels` has shape (n, 2), and `groups`, of shape (n,),
    says which rows were held out together.
    """
    heads, tiers = [], []
    for name, (head, columns) in FAMILIES.items():
        known = labels[:, head] != IGNORE
        truth = labels[known, head]
        full = fit_blend(encoder[known, columns], lexical[known, columns], truth)
        fast = fit_blend(None, lexical[known, columns], truth)
        sure, quick = (
            full.probabilities(encoder[:, columns], lexical[:, columns]),
            fast.probabilities(None, lexical[:, columns]),
        )
        right_full, right_fast = (answers(said, LABELS[name]) == labels[:, head] for said in (sure, quick))
        threshold = selective_threshold(sure[known].max(axis=1), right_full[known], TOLERATED_ERROR)
        flagged = threshold if name == "verdict" else 0.0
        tiers.append(TierAnswers(quick.max(axis=1), right_fast, right_full, known, flagged))
        heads.append(HeadConfig(LABELS[name], full, fast, uncertain_below=threshold))
    above = fast_thresholds(tiers, groups, _TOLERATED_LOSS, _TOLERATED_IN_GROUP)
    verdict, refusal = (replace(head, fast_above=value) for head, value in zip(heads, above, strict=True))
    return verdict, refusal


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


def _commit() -> str | None:
    """Return the commit of the clone that this code runs from, marked if files differ from it; None outside a clone."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        tracked = subprocess.run(  # noqa: S603
            ["git", "ls-files", "--error-unmatch", Path(__file__).name],  # noqa: S607
            cwd=folder,
            capture_output=True,
            check=False,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip() if tracked.returncode == 0 else None


def provenance_of(
    examples: Sequence[Example],
    base: Path,
    family: Family,
    config: FinetuneConfig,
    out_of_fold: bool,
    data: dict[str, str],
) -> dict[str, Any]:
    """Return what a model was made of and with, for its `config.json`."""
    packages = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy", "onnxruntime")
    return {
        "refusal_clf": __version__,
        "commit": _commit(),
        "base": base.name if base.name != "model" else base.parent.name,
        "n_examples": len(examples),
        "n_verdicts": int((targets(examples)[:, 0] != IGNORE).sum()),
        "n_refusals": int((targets(examples)[:, 1] != IGNORE).sum()),
        "calibrated_on": "out-of-fold scores" if out_of_fold else "a tenth of the prompts, held out",
        "family": family,
        "hyperparameters": asdict(config) if family == "encoder" else {},
        "data": data,
        "python": platform.python_version(),
        "packages": {package: version(package) for package in packages},
    }
