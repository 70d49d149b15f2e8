"""The ONNX graph of the two-head encoder, written operator by operator so that every one has a fast CPU kernel.

An exporter that traces PyTorch leaves attention in a dozen small operators and quantises with one scale for a whole
batch. Here attention is one operator of ONNX Runtime, and in 8 bits every activation has a scale that was fixed when
the model was made, so that no answer depends on what else is in its batch.
"""

from __future__ import annotations

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
from refusal_clf.training.quantise import quantise_linear, quantise_rows

OPSET: Final = 18
_CONTRIB: Final = "com.microsoft"
_IR_VERSION: Final = 10
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
    for layer in range(config.num_hidden_layers):
        states = graph.layer(f"encoder.encoder.layer.{layer}", states, mask, config.num_attention_heads)
    graph.heads(states)
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

    def layer(self, prefix: str, states: str, mask: _Mask, n_heads: int) -> str:
        attention, mixed, up, down = linear_names(prefix)
        query, key, value = self._linear(states, attention)
        context = self._attention((query, key, value), mask, n_heads)
        [output] = self._linear(context, mixed)
        states = self._normalised(self.add("Add", states, output), f"{prefix}.attention.output.LayerNorm")
        [raised] = self._linear(states, up, bias=False)
        gelu = "BiasGelu" if self.activations is None else "FastGelu"  # tanh is near enough where 8 bits are
        raised = self.add(gelu, raised, self.constant(self.weights[f"{up[0]}.bias"]), domain=_CONTRIB)
        [output] = self._linear(raised, down)
        return self._normalised(self.add("Add", states, output), f"{prefix}.output.LayerNorm")

    def _attention(self, inputs: tuple[str, str, str], mask: _Mask, n_heads: int) -> str:
        """Attend without a mask where it hides nothing: only that kernel works in blocks that stay in the cache."""
        branches = {}
        for name, more in (("then_branch", ()), ("else_branch", ("", mask.values))):
            output = f"{name}_{len(self.nodes)}"
            node = helper.make_node(
                "MultiHeadAttention", [*inputs, *more], [output], output, domain=_CONTRIB, num_heads=n_heads
            )
            result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
            branches[name] = helper.make_graph([node], output, [], [result])
        return self.add("If", mask.hides_nothing, **branches)

    def _linear(self, states: str, names: tuple[str, ...], *, bias: bool = True) -> list[str]:
        """Apply linear layers that share their input."""
        matrices = [np.ascontiguousarray(self.weights[f"{name}.weight"].T) for name in names]
        biases = [self.weights[f"{name}.bias"] if bias else None for name in names]
        if self.activations is None:
            products = [self.add("MatMul", states, self.constant(matrix)) for matrix in matrices]
            return [
                product if shift is None else self.add("Add", product, self.constant(shift))
                for product, shift in zip(products, biases, strict=True)
            ]
        quantised = quantise_linear(np.concatenate(matrices, axis=1), self.activations[names[0]])
        if quantised.smoothing is not None:
            states = self.add("Mul", states, self.constant(1 / quantised.smoothing))
        scale, zero = self.constant(quantised.input_scale), self.constant(quantised.input_zero)
        integers = self.add("QuantizeLinear", states, scale, zero)
        outputs, start = [], 0
        for matrix, shift in zip(matrices, biases, strict=True):
            columns = slice(start, start + matrix.shape[1])
            start = columns.stop
            weights = self.constant(np.ascontiguousarray(quantised.weights[:, columns]))
            scales = self.constant(quantised.weight_scales[columns])
            zeros = self.constant(np.zeros(matrix.shape[1], np.int8))
            inputs = [integers, weights, scale, scales, zero, zeros]
            if shift is not None:
                inputs.append(self.constant(shift))
            outputs.append(self.add("MatMulIntegerToFloat", *inputs, domain=_CONTRIB))
        return outputs

    def _normalised(self, states: str, name: str) -> str:
        scale, bias = (self.constant(self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", states, scale, bias, axis=-1, epsilon=self.epsilon)

    def heads(self, states: str) -> None:
        """First token, mean and maximum over the response's tokens (`TwoHeadEncoder.pool`), then both heads."""
        axis = self.constant(np.array([1]))
        first = self.add("Gather", states, self.constant(np.int64(0)), axis=1)
        response = self.add("Cast", self.add("Mul", "token_type_ids", "attention_mask"), to=TensorProto.FLOAT)
        response = self.add("Unsqueeze", response, self.constant(np.array([2])))
        total = self.add("ReduceSum", self.add("Mul", states, response), axis, keepdims=0)
        count = self.add("ReduceSum", response, axis, keepdims=0)
        mean = self.add("Div", total, self.add("Max", count, self.constant(np.float32(1))))
        outside = self.add("Equal", response, self.constant(np.float32(0)))
        largest = self.add("ReduceMax", self.add("Where", outside, self.constant(_LOWEST), states), axis, keepdims=0)
        pooled = self.add("Concat", first, mean, largest, axis=1)
        matrix, bias = (self.constant(self.weights[f"heads.{part}"]) for part in ("weight", "bias"))
        self.nodes.append(helper.make_node("Gemm", [pooled, matrix, bias], [OUTPUT], OUTPUT, transB=1))
