"""The exported graph in full precision and in integers, beside PyTorch on a tiny random encoder."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import onnx
import pytest

from refusal_clf.records import InputError

pytest.importorskip("torch")

import torch

from refusal_clf.runtime.encoder import OUTPUT, make_session
from refusal_clf.runtime.tokens import Encoded, pad
from refusal_clf.training.activations import InputSample, load_activations, record, save_activations
from refusal_clf.training.graph import build_graph
from refusal_clf.training.network import collate, from_base
from refusal_clf.training.quantise import _quantised, quantise_linear, quantise_rows


@pytest.fixture(scope="module")
def network(tiny_base):
    return from_base(tiny_base).eval()


@pytest.fixture(scope="module")
def texts(network):
    random = np.random.default_rng(0)
    size = network.encoder.config.vocab_size
    lengths = random.integers(6, 40, 32).tolist()
    return [Encoded(tuple(random.integers(0, size, n).tolist()), n // 3, truncated=False) for n in lengths]


def scores(model, texts, path):
    onnx.save(model, path)
    return make_session(path).run([OUTPUT], pad(texts))[0]


def test_the_graph_computes_what_pytorch_computes(network, texts, tmp_path):
    with torch.inference_mode():
        expected = network(**collate(texts)).numpy()
    assert np.allclose(scores(build_graph(network), texts, tmp_path / "m.onnx"), expected, atol=1e-5)


def test_a_text_alone_has_no_mask_and_gets_what_it_gets_among_longer_ones(network, texts, tmp_path):
    together = scores(build_graph(network), texts, tmp_path / "m.onnx")
    session = make_session(tmp_path / "m.onnx")
    alone = [session.run([OUTPUT], pad([text]))[0][0] for text in texts]
    assert np.allclose(alone, together, atol=1e-5)


def test_integers_come_near_and_every_matrix_is_in_them(network, texts, tmp_path):
    with torch.inference_mode():
        expected = network(**collate(texts)).numpy()
    model = build_graph(network, record(network, texts))
    found = scores(model, texts, tmp_path / "m.onnx")
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMulIntegerToFloat") == 6 * network.encoder.config.num_hidden_layers
    assert "MatMul" not in kinds


def test_a_text_whose_response_is_empty_is_scored_all_the_same(network, texts, tmp_path):
    silent = [Encoded(text.ids[:9], 9, truncated=False) for text in texts if len(text.ids) >= 9]
    with torch.inference_mode():
        expected = network(**collate([*silent, *texts])).numpy()
    model = build_graph(network)
    assert np.allclose(scores(model, [*silent, *texts], tmp_path / "m.onnx"), expected, atol=1e-5)
    assert np.allclose(scores(model, silent, tmp_path / "m.onnx"), expected[: len(silent)], atol=1e-5)


def test_a_large_channel_of_the_values_costs_no_precision(network, texts, tmp_path):
    """The same function, but one channel that attention adds up is 60 times as large, and its weights as small."""
    scaled = deepcopy(network)
    with torch.inference_mode():
        expected = network(**collate(texts)).numpy()
        for layer in scaled.encoder.encoder.layer:
            layer.attention.self.value.weight[1] *= 60
            layer.attention.self.value.bias[1] *= 60
            layer.attention.output.dense.weight[:, 1] /= 60
    model = build_graph(scaled, record(scaled, texts))
    found = scores(model, texts, tmp_path / "m.onnx")
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


def test_activations_are_kept_as_they_were_recorded(network, texts, tmp_path):
    recorded = record(network, texts)
    save_activations(recorded, tmp_path)
    loaded = load_activations(tmp_path)
    assert loaded.keys() == recorded.keys()
    for name, sample in recorded.items():
        assert np.array_equal(loaded[name].rows, sample.rows)
        assert np.all(sample.lowest <= sample.rows.min(0))
        assert np.all(sample.highest >= sample.rows.max(0))


def test_quantised_embeddings_are_within_half_a_step():
    table = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    rows, scales = quantise_rows(table)
    assert np.all(np.abs(rows * scales - table) <= scales * 0.5001)


def test_only_the_architecture_that_the_graph_is_written_for_is_exported(tiny_base):
    network = from_base(tiny_base)
    network.encoder.config.hidden_act = "relu"
    with pytest.raises(InputError, match=r"only BERT encoders with GELU"):
        build_graph(network)


def test_smoothing_keeps_a_quantised_layer_near_where_one_channel_is_large():
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 24)).astype(np.float32)
    rows[:, 5] *= 60
    matrix = random.normal(size=(24, 16)).astype(np.float32)
    matrix[5] /= 60
    sample = InputSample(rows.min(0), rows.max(0), rows)
    quantised = quantise_linear(matrix, sample)
    error = np.abs(quantised.apply(rows) - rows @ matrix).mean() / np.abs(rows @ matrix).mean()
    plain = np.abs(_quantised(matrix, sample, None).apply(rows) - rows @ matrix).mean() / np.abs(rows @ matrix).mean()
    assert quantised.smoothing is not None
    assert error < 0.02 < plain / 2
    assert np.abs(quantised.weights).max() <= 64
