"""Training directory -> ONNX model directory: write the graph, check it against PyTorch, quantise."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from refusal_clf.records import VERDICTS, InputError
from refusal_clf.runtime import layout
from refusal_clf.runtime.encoder import OUTPUT, make_session
from refusal_clf.runtime.tokens import Encoded, pad
from refusal_clf.training.activations import ACTIVATIONS_FILE, load_activations
from refusal_clf.training.card import write_card
from refusal_clf.training.graph import OPSET, build_graph
from refusal_clf.training.network import TwoHeadEncoder, load_network
from refusal_clf.training.release import TRAINING_FILES

_TOLERANCE: Final = 1e-3
_PROBES: Final = 256


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported encoder is from PyTorch's on random token sequences of all lengths.

    `fp32_difference` is the largest absolute difference of a raw score; `verdict_flips` and `refusal_flips`
    are shares of changed answers of the final (int8, if quantised) encoder alone.
    """

    fp32_difference: float
    verdict_flips: float
    refusal_flips: float


def export(
    source: Path,
    out: Path,
    *,
    int8: bool,
    report: Callable[[str], None],
    evaluation: dict[str, Any] | None = None,
    notes: str | None = None,
) -> Parity:
    """Write an ONNX model directory from a training directory.

    Parameters
    ----------
    source
        What `release.train` wrote.
    out
        The model directory; weight files in it are replaced.
    int8
        Compute in 8 bits: a quarter of the size, and faster.
    evaluation
        An `evaluation.json` document, for the model card.
    notes
        Markdown of the model's maker, for the model card.

    Raises
    ------
    InputError
        If `source` is not a training directory, or the exported graph differs from PyTorch's.
    """
    config = layout.read_config(source)
    if config.files:  # training directories of release 0.1 have no checksums
        # Without activations a model can be exported in floating point; for 8 bits they are asked for below.
        optional = () if (source / ACTIVATIONS_FILE).exists() else (ACTIVATIONS_FILE,)
        layout.verify(source, config, [name for name in TRAINING_FILES if name not in optional])
    network = load_network(source)
    probes = _probes(network, config.budget.total)
    expected = _torch_scores(network, probes)
    out.mkdir(parents=True, exist_ok=True)
    (out / layout.CONFIG_FILE).unlink(missing_ok=True)  # no model until all of it is written
    with tempfile.TemporaryDirectory() as scratch:
        final = Path(scratch) / layout.ENCODER_FILE
        onnx.save(build_graph(network), final)
        scores = _onnx_scores(final, probes)
        difference = float(np.abs(scores - expected).max())
        report(f"fp32 ONNX against PyTorch: largest difference of a score {difference:.2g}")
        if difference > _TOLERANCE:
            raise InputError(f"the exported graph differs from PyTorch's by {difference:.2g} (at most {_TOLERANCE})")
        if int8:
            onnx.save(build_graph(network, load_activations(source)), final)
            scores = _onnx_scores(final, probes)
        shutil.copyfile(final, out / layout.ENCODER_FILE)
    for name in (layout.TOKENIZER_FILE, layout.LEXICAL_FILE):
        shutil.copyfile(source / name, out / name)
    provenance = config.provenance | {
        "precision": "int8" if int8 else "fp32",
        "onnx": version("onnx"),
    }
    exported = replace(config, files=layout.checksums(out), opset=OPSET, provenance=provenance)
    exported.write(out)
    write_card(out, exported, evaluation, notes)
    flips = [
        float((scores[:, columns].argmax(1) != expected[:, columns].argmax(1)).mean())
        for columns in (slice(0, len(VERDICTS)), slice(len(VERDICTS), None))
    ]
    return Parity(difference, *flips)


def _probes(network: TwoHeadEncoder, longest: int) -> list[Encoded]:
    random = np.random.default_rng(0)
    vocabulary = network.encoder.config.vocab_size
    probes = []
    for length in random.integers(8, longest + 1, _PROBES).tolist():
        ids = tuple(int(value) for value in random.integers(1000, vocabulary, length))
        probes.append(Encoded(ids, int(length) // 3, truncated=False))
    return probes


def _torch_scores(network: TwoHeadEncoder, probes: list[Encoded]) -> NDArray[np.float32]:
    with torch.inference_mode():
        rows = [network(**{name: torch.from_numpy(a) for name, a in pad([probe]).items()}) for probe in probes]
    scores: NDArray[np.float32] = torch.cat(rows).numpy()
    return scores


def _onnx_scores(path: Path, probes: list[Encoded]) -> NDArray[np.float32]:
    session = make_session(path)
    return np.concatenate([session.run([OUTPUT], pad([probe]))[0] for probe in probes])
