"""Training directory -> ONNX model directory: export, fuse, check against PyTorch, quantise."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from refusal_clf.runtime.encoder import INPUTS, OUTPUT, make_session
from refusal_clf.runtime.tokens import Encoded, pad
from refusal_clf.training.card import write_card
from refusal_clf.training.network import TwoHeadEncoder, load_network

OPSET: Final = 18
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
        Store the weights in 8 bits: a quarter of the size, and batches cannot change an answer.
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
    network = load_network(source)
    probes = _probes(network, config.budget.total)
    expected = _torch_scores(network, probes)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        fp32 = Path(scratch) / "fp32.onnx"
        _to_onnx(network, fp32)
        fused = _fuse(fp32, network)
        scores = _onnx_scores(fused, probes)
        difference = float(np.abs(scores - expected).max())
        report(f"fp32 ONNX against PyTorch: largest difference of a score {difference:.2g}")
        if difference > _TOLERANCE:
            raise InputError(f"the exported graph differs from PyTorch's by {difference:.2g} (at most {_TOLERANCE})")
        final = _quantise(fused) if int8 else fused
        scores = _onnx_scores(final, probes)
        shutil.copyfile(final, out / layout.ENCODER_FILE)
    for name in (layout.TOKENIZER_FILE, layout.LEXICAL_FILE):
        shutil.copyfile(source / name, out / name)
    provenance = config.provenance | {
        "precision": "int8" if int8 else "fp32",
        "opset": OPSET,
        "onnx": version("onnx"),
    }
    exported = replace(config, files=layout.checksums(out), provenance=provenance)
    exported.write(out)
    write_card(out, exported, evaluation, notes)
    flips = [
        float((scores[:, columns].argmax(1) != expected[:, columns].argmax(1)).mean())
        for columns in (slice(0, len(VERDICTS)), slice(len(VERDICTS), None))
    ]
    return Parity(difference, *flips)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' hundreds of notes off the terminal; their errors are exceptions."""
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _to_onnx(network: TwoHeadEncoder, path: Path) -> None:
    network.encoder.set_attn_implementation("eager")  # plain matrix products, which export without detours
    inputs = {name: torch.ones((2, 16), dtype=torch.int64) for name in INPUTS}
    axes = {
        0: torch.export.Dim("batch"),
        1: torch.export.Dim("length", max=network.encoder.config.max_position_embeddings),
    }
    torch.onnx.export(
        network,
        (),
        str(path),
        kwargs=inputs,
        dynamo=True,
        opset_version=OPSET,
        input_names=list(INPUTS),
        output_names=[OUTPUT],
        dynamic_shapes=dict.fromkeys(INPUTS, axes),
        external_data=False,
        verbose=False,
    )


def _fuse(path: Path, network: TwoHeadEncoder) -> Path:
    """Fuse GELUs and layer norms with their neighbours (onnxruntime's transformer optimiser)."""
    from onnxruntime.transformers.optimizer import optimize_model

    encoder = network.encoder.config
    model = optimize_model(
        str(path),
        model_type="bert",
        num_heads=encoder.num_attention_heads,
        hidden_size=encoder.hidden_size,
        opt_level=0,
    )
    fused = path.with_name("fused.onnx")
    model.save_model_to_file(str(fused))
    return fused


def _quantise(path: Path) -> Path:
    """Store weights in 8 bits: matrices with a scale for each block of 64, embeddings with one for each tensor.

    Activations are quantised row by row within the kernels, so that no answer depends on what else is in the
    batch; onnxruntime's dynamic quantisation, with one scale for the whole batch, is faster but lets neighbours
    move a probability by up to 0.03.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    matrices, quantised = path.with_name("matrices.onnx"), path.with_name("int8.onnx")
    quantizer = MatMulNBitsQuantizer(
        onnx.load(str(path)),
        algo_config=DefaultWeightOnlyQuantConfig(
            bits=8, block_size=64, is_symmetric=True, accuracy_level=4, op_types_to_quantize=("MatMul",)
        ),
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(matrices), False)
    quantize_dynamic(
        str(matrices),
        str(quantised),
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Gather"],
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    return quantised


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
