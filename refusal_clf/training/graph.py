"""The ONNX graph of the two-head encoder, written operator by operator so that every one has a fast CPU kernel.

An exporter that traces PyTorch leaves attention in a dozen small operators and quantises with one scale for a whole
batch. Here attention is one operator of ONNX Runtime, and in 8 bits every activation has a scale that was fixed when
the model was made, so that no answer depends on what else is in its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from refusal_clf.records import InputError
from refusal_clf.runtime.encoder import INPUTS, OUTPUT
from refusal_clf.training.activations import Activations, linear_names
from refusal_clf.training.network import N_OUTPUTS, TwoHeadEncoder
from refusal_clf.training.quantise import QuantisedLinear, quantise_linear, quantise_rows

OPSET: Final = 23
_CONTRIB: Final = "com.microsoft"
_IR_VERSION: Final = 10
_LAYERS: Final = "encoder.encoder.layer"
_LOWEST: Final = np.float32(-1e4)

Array = NDArray[np.float32]


def build_graph(network: TwoHeadEncoder, activations: Activations | None = None) -> onnx.ModelProto:
    """Return the encoder with both heads as an ONNX model.

    Parameters
    ----------
    network
        A BERT encoder with its heads.
    activations
        What the inputs of its linear layers look like (`activations.record`). With them the graph computes in
        8 bits; without them in 32-bit floating point.

    Raises
    ------
    InputError
        If the encoder is not a BERT with the exact GELU.
    """
    config = network.encoder.config
    if (config.model_type, config.hidden_act) != ("bert", "gelu"):
        raise InputError(f"only BERT encoders with GELU can be exported, not {config.model_type} ({config.hidden_act})")
    weights = {name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()}
    graph = _Graph(weights, float(config.layer_norm_eps), activations)
    states = graph.embeddings()
    mask = _Mask(
        graph.add("Cast", "attention_mask", to=TensorProto.INT32),
        graph.add("Cast", graph.add("ReduceMin", "attention_mask", keepdims=0), to=TensorProto.BOOL),
    )
    for layer in range(config.num_hidden_layers - 1):
        states = graph.layer(f"{_LAYERS}.{layer}", states, mask, config.num_attention_heads)
    pooled = graph.pooled_tokens()
    last = f"{_LAYERS}.{config.num_hidden_layers - 1}"
    graph.heads(graph.layer(last, states, mask, config.num_attention_heads, pooled), pooled)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in INPUTS]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", N_OUTPUTS])]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "encoder", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(_CONTRIB, 1)],
        ir_version=_IR_VERSION,
        producer_name="refusal-clf",
    )
    onnx.checker.check_model(model)
    return model


@dataclass(frozen=True, slots=True)
class _Mask:
    """Names of the attention mask, 32-bit integers, and of whether it hides nothing, one truth value."""

    values: str
    hides_nothing: str


@dataclass(frozen=True, slots=True)
class _Pooled:
    """Names of the bounds of the tokens that the heads pool: the first one, and all from `begin` on."""

    zero: str
    one: str
    begin: str
    end: str


@dataclass(frozen=True, slots=True)
class _Linear:
    """Linear layers that share their input; `matrices` have shape (inputs, outputs), `quantised` is all of them."""

    matrices: Sequence[Array]
    biases: Sequence[Array]
    quantised: QuantisedLinear | None

    @property
    def smoothing(self) -> Array | None:
        return None if self.quantised is None else self.quantised.smoothing


@dataclass(slots=True)
class _Graph:
    """Nodes and constants as they accumulate; methods return the name of what they compute."""

    weights: dict[str, Array]
    epsilon: float
    activations: Activations | None
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, domain=domain, **attributes))
        return output

    def constant(self, value: NDArray[np.generic] | np.generic) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def embeddings(self) -> str:
        prefix = "encoder.embeddings"
        words, types, positions = (
            self.weights[f"{prefix}.{kind}_embeddings.weight"] for kind in ("word", "token_type", "position")
        )
        total = self.add("Add", self._words(words), self.add("Gather", self.constant(types), "token_type_ids"))
        zero, one, two = (self.constant(np.array([value])) for value in (0, 1, 2))
        length = self.add("Slice", self.add("Shape", "input_ids"), one, two)
        total = self.add("Add", total, self.add("Slice", self.constant(positions), zero, length, zero))
        return self._normalised(total, f"{prefix}.LayerNorm")

    def _words(self, words: Array) -> str:
        if self.activations is None:
            return self.add("Gather", self.constant(words), "input_ids")
        rows, scales = quantise_rows(words)
        looked_up = self.add("Cast", self.add("Gather", self.constant(rows), "input_ids"), to=TensorProto.FLOAT)
        return self.add("Mul", looked_up, self.add("Gather", self.constant(scales), "input_ids"))

    def pooled_tokens(self) -> _Pooled:
        """Find the tokens from which the scores are made: the first, and those from the first of any response on."""
        of_any = self.add("ReduceMax", "token_type_ids", self.constant(np.array([0])), keepdims=0)
        begin = self.add("ArgMax", self.add("Cast", of_any, to=TensorProto.INT32), axis=0, keepdims=1)
        zero, one, end = (self.constant(np.array([value])) for value in (0, 1, np.iinfo(np.int64).max))
        return _Pooled(zero, one, begin, end)

    def _only(self, pooled: _Pooled, tensor: str) -> str:
        """Cut a tensor of shape (batch, length, ...) down to the tokens that are pooled."""
        first = self.add("Slice", tensor, pooled.zero, pooled.one, pooled.one)
        return self.add("Concat", first, self.add("Slice", tensor, pooled.begin, pooled.end, pooled.one), axis=1)

    def layer(self, prefix: str, states: str, mask: _Mask, n_heads: int, pooled: _Pooled | None = None) -> str:
        """Add a layer; for the last one only the states of `pooled` are computed, the others are keys and values."""
        attending, mixed, up, down = (self._linear(names) for names in linear_names(prefix))
        inputs = self._input(attending, states)
        asking = inputs
        if pooled is not None:
            asking, states = self._only(pooled, inputs), self._only(pooled, states)
        query = self._product(attending, asking, 0)
        key = self._product(attending, inputs, 1)
        # Attention adds values up, channel by channel: what its result is to be divided by, they can be divided by.
        value = self._product(attending, inputs, 2, divisor=mixed.smoothing)
        context = self._attention((query, key, value), mask, n_heads)
        output = self._product(mixed, self._input(mixed, context, smoothed=True))
        states = self._normalised(self.add("Add", states, output), f"{prefix}.attention.output.LayerNorm")
        gelu = "none" if self.activations is None else "tanh"  # near enough where 8 bits are, and quicker
        raised = self.add("Gelu", self._product(up, self._input(up, states)), approximate=gelu)
        output = self._product(down, self._input(down, raised))
        return self._normalised(self.add("Add", states, output), f"{prefix}.output.LayerNorm")

    def _attention(self, inputs: tuple[str, str, str], mask: _Mask, n_heads: int) -> str:
        """Attend; where the mask hides nothing by the operator that is quicker and takes no mask of keys."""
        branches = {}
        for name, node in (
            ("then_branch", helper.make_node("Attention", inputs, [""], q_num_heads=n_heads, kv_num_heads=n_heads)),
            (
                "else_branch",
                helper.make_node(
                    "MultiHeadAttention", [*inputs, "", mask.values], [""], domain=_CONTRIB, num_heads=n_heads
                ),
            ),
        ):
            node.name = node.output[0] = f"{name}_{len(self.nodes)}"
            result = helper.make_tensor_value_info(node.name, TensorProto.FLOAT, None)
            branches[name] = helper.make_graph([node], node.name, [], [result])
        return self.add("If", mask.hides_nothing, **branches)

    def _linear(self, names: tuple[str, ...]) -> _Linear:
        matrices = [np.ascontiguousarray(self.weights[f"{name}.weight"].T) for name in names]
        quantised = None
        if self.activations is not None:
            quantised = quantise_linear(np.concatenate(matrices, axis=1), self.activations[names[0]])
        return _Linear(matrices, [self.weights[f"{name}.bias"] for name in names], quantised)

    def _input(self, linear: _Linear, states: str, *, smoothed: bool = False) -> str:
        """Make states the input of linear layers; `smoothed` ones are divided by the smoothing already."""
        if linear.quantised is None:
            return states
        if linear.smoothing is not None and not smoothed:
            states = self.add("Mul", states, self.constant(1 / linear.smoothing))
        scale, zero = self.constant(linear.quantised.input_scale), self.constant(linear.quantised.input_zero)
        return self.add("QuantizeLinear", states, scale, zero, domain=_CONTRIB)  # ONNX's of opset 23 came with 1.24

    def _product(self, linear: _Linear, inputs: str, part: int = 0, divisor: Array | None = None) -> str:
        """Apply one of the linear layers, and divide what comes out by `divisor`, of shape (outputs,)."""
        matrix, bias = linear.matrices[part], linear.biases[part]
        if linear.quantised is None:
            return self.add("Add", self.add("MatMul", inputs, self.constant(matrix)), self.constant(bias))
        start = sum(before.shape[1] for before in linear.matrices[:part])
        columns = slice(start, start + matrix.shape[1])
        weights, scales = linear.quantised.weights[:, columns], linear.quantised.weight_scales[columns]
        if divisor is not None:
            scales, bias = scales / divisor, bias / divisor
        return self.add(
            "MatMulIntegerToFloat",
            inputs,
            self.constant(np.ascontiguousarray(weights)),
            self.constant(linear.quantised.input_scale),
            self.constant(scales),
            self.constant(linear.quantised.input_zero),
            self.constant(np.zeros(matrix.shape[1], np.int8)),
            self.constant(bias),
            domain=_CONTRIB,
        )

    def _normalised(self, states: str, name: str) -> str:
        scale, bias = (self.constant(self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", states, scale, bias, axis=-1, epsilon=self.epsilon)

    def heads(self, states: str, pooled: _Pooled) -> None:
        """First token, mean and maximum over the response's tokens (`TwoHeadEncoder.pool`), then both heads."""
        axis = self.constant(np.array([1]))
        first = self.add("Gather", states, self.constant(np.int64(0)), axis=1)
        response = self._only(pooled, self.add("Mul", "token_type_ids", "attention_mask"))
        response = self.add("Cast", response, to=TensorProto.FLOAT)
        response = self.add("Unsqueeze", response, self.constant(np.array([2])))
        total = self.add("ReduceSum", self.add("Mul", states, response), axis, keepdims=0)
        count = self.add("ReduceSum", response, axis, keepdims=0)
        mean = self.add("Div", total, self.add("Max", count, self.constant(np.float32(1))))
        outside = self.add("Equal", response, self.constant(np.float32(0)))
        largest = self.add("ReduceMax", self.add("Where", outside, self.constant(_LOWEST), states), axis, keepdims=0)
        features = self.add("Concat", first, mean, largest, axis=1)
        matrix, bias = (self.constant(self.weights[f"heads.{part}"]) for part in ("weight", "bias"))
        self.nodes.append(helper.make_node("Gemm", [features, matrix, bias], [OUTPUT], OUTPUT, transB=1))
