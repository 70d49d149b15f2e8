"""A linear layer in integers: 8-bit inputs with one fixed scale, 7-bit weights with a scale for each column.

The scale of the inputs is fixed when the model is made, from activations on real texts, so that an answer never
depends on its batch. A few channels of a transformer's activations are tens of times larger than the others and would
leave these a handful of steps; as in SmoothQuant (Xiao et al. 2023, arXiv:2211.10438, section 4), channels are divided
by factors with which the rows of the weights are multiplied. Which factors is decided by the error of the layer's
output.

Weights keep to 7 bits because processors with AVX2 alone add two products of 8 by 8 bits in 16 bits and saturate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.training.activations import InputSample

_INPUT_STEPS: Final = 255
_LARGEST_WEIGHT: Final = 64
_EXPONENTS: Final = (0.3, 0.4, 0.5, 0.6, 0.7)
_CAPS: Final = (0.5, 0.8, 0.9, 0.97, 0.99)
_SMALLEST: Final = 1e-6

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class QuantisedLinear:
    """Integers and scales of one matrix; its float value is (weights * weight_scales) / smoothing[:, None].

    `weights` is int8 of shape (inputs, outputs), `weight_scales` has shape (outputs,); inputs, divided by `smoothing`
    of shape (inputs,) unless that is None, become round(x / input_scale) + input_zero in 0..255.
    """

    weights: NDArray[np.int8]
    weight_scales: Array
    input_scale: np.float32
    input_zero: np.uint8
    smoothing: Array | None

    def apply(self, rows: Array) -> Array:
        """Return what the integers make of inputs of shape (n, inputs): shape (n, outputs), as the kernels compute."""
        if self.smoothing is not None:
            rows = rows / self.smoothing
        zero = float(self.input_zero)
        integers = np.clip(np.rint(rows / self.input_scale) + zero, 0, _INPUT_STEPS) - zero
        product: Array = (integers @ self.weights.astype(np.float32)) * (self.input_scale * self.weight_scales)
        return product


def quantise_rows(table: Array) -> tuple[NDArray[np.int8], Array]:
    """Return an embedding table as int8 with a scale for each row, shapes (n, width) and (n, 1)."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), _SMALLEST) / 127
    return np.rint(table / scales).astype(np.int8), scales.astype(np.float32)


def quantise_linear(matrix: Array, sample: InputSample) -> QuantisedLinear:
    """Quantise a matrix of shape (inputs, outputs) with the smoothing whose output is nearest on the sample's rows."""
    expected = sample.rows @ matrix
    candidates = [_quantised(matrix, sample, smoothing) for smoothing in _smoothings(matrix, sample)]
    return min(candidates, key=lambda candidate: float(np.square(candidate.apply(sample.rows) - expected).mean()))


def _quantised(matrix: Array, sample: InputSample, smoothing: Array | None) -> QuantisedLinear:
    lowest, highest, scaled = sample.lowest, sample.highest, matrix
    if smoothing is not None:
        lowest, highest, scaled = lowest / smoothing, highest / smoothing, matrix * smoothing[:, None]
    low, high = min(float(lowest.min()), 0.0), max(float(highest.max()), _SMALLEST)
    step = (high - low) / _INPUT_STEPS
    scales = np.maximum(np.abs(scaled).max(axis=0), _SMALLEST) / _LARGEST_WEIGHT
    return QuantisedLinear(
        weights=np.rint(scaled / scales).astype(np.int8),
        weight_scales=scales.astype(np.float32),
        input_scale=np.float32(step),
        input_zero=np.uint8(round(-low / step)),
        smoothing=smoothing,
    )


def _smoothings(matrix: Array, sample: InputSample) -> Iterator[Array | None]:
    """Propose none, SmoothQuant's balance of inputs and weights, and a cap on the largest channels alone."""
    yield None
    largest = np.maximum(np.maximum(np.abs(sample.lowest), np.abs(sample.highest)), _SMALLEST)
    weight = np.maximum(np.abs(matrix).max(axis=1), _SMALLEST)
    for exponent in _EXPONENTS:
        balance = largest**exponent / weight ** (1 - exponent)
        yield (balance / np.exp(np.log(balance).mean())).astype(np.float32)
    for quantile in _CAPS:
        yield np.maximum(largest / np.quantile(largest, quantile), 1).astype(np.float32)
