"""A model that was changed, mixed up or made to attack is refused in one line, before anything of it runs."""

from __future__ import annotations

import json
import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.records import InputError
from refusal_clf.runtime import layout
from refusal_clf.runtime.graph_file import check_graph
from refusal_clf.runtime.lexical import load_lexical


@pytest.fixture
def copy(tmp_path: Path, model_dir: Path) -> Path:
    """Return a copy of the shipped model whose configuration carries all that this release writes."""
    folder = shutil.copytree(model_dir, tmp_path / "model")
    layout.read_config(folder).write(folder)
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        RefusalClassifier.load(folder).predict([Completion(response="No.")], tier="full")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def signed_again(folder: Path) -> None:
    """Enter the files' new checksums, as one who can change the files can do."""
    config = json.loads((folder / "config.json").read_text())
    config["files"] = layout.checksums(folder)
    config.pop("config_sha256", None)
    (folder / "config.json").write_text(json.dumps(config))


def test_an_untouched_copy_loads_and_keeps_its_name(copy: Path, model_dir: Path) -> None:
    assert RefusalClassifier.load(copy).sha256 == RefusalClassifier.load(model_dir).sha256
    assert layout.read_config(copy).opset == 23


@pytest.mark.parametrize("name", [*layout.WEIGHT_FILES, "config.json"])
def test_any_changed_byte_is_refused(copy: Path, name: str) -> None:
    path = copy / name
    data, chance = path.read_bytes(), random.Random(name)
    for _ in range(10 if name == "config.json" else 3):
        at = chance.randrange(len(data) - 1)
        changed = bytearray(data)
        changed[at] ^= 1 << chance.randrange(7)
        if name == "config.json" and changed.decode().split() == data.decode().split():
            continue  # white space for white space
        path.write_bytes(changed)
        refused(copy)


def test_a_changed_threshold_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["verdict"]["uncertain_below"] += 0.01
    (copy / "config.json").write_text(json.dumps(config))
    assert "config.json: does not match its own config_sha256" in refused(copy)


@pytest.mark.parametrize("name", layout.WEIGHT_FILES)
def test_a_file_that_was_cut_off_and_signed_again_is_refused(copy: Path, name: str) -> None:
    for share in (0.0, 0.5, 0.999):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[: int(len(data) * share)])
        signed_again(copy)
        assert name in refused(copy)
        (copy / name).write_bytes(data)


def test_another_models_tokenizer_is_refused_though_it_is_signed(copy: Path, base_tokenizer: Path) -> None:
    shutil.copyfile(base_tokenizer, copy / "tokenizer.json")
    signed_again(copy)
    assert "it is another model's" in refused(copy)


def test_labels_in_another_order_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["verdict"]["labels"].reverse()
    del config["config_sha256"]
    (copy / "config.json").write_text(json.dumps(config))
    assert "verdict labels" in refused(copy)


@pytest.mark.parametrize("what", ["/dev/zero", "fifo", "folder", "nowhere"])
def test_a_link_to_anything_but_a_file_is_refused_and_never_read(copy: Path, what: str) -> None:
    path = copy / "model.onnx"
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(copy.parent if what == "folder" else what)
    assert "has no model.onnx" in refused(copy)


def test_a_file_larger_than_any_model_is_refused_unread(copy: Path) -> None:
    os.truncate(copy / "model.onnx", 2**31 + 1)  # sparse: it takes no room
    assert "which no model of ours has" in refused(copy)


class TestGraphs:
    @pytest.fixture
    def onnx(self):
        return pytest.importorskip("onnx")

    @pytest.fixture
    def graph(self, onnx, copy: Path):
        return onnx.load(copy / "model.onnx")

    def refusal(self, copy: Path, graph) -> str:
        (copy / "model.onnx").write_bytes(graph.SerializeToString())
        signed_again(copy)
        return refused(copy)

    def test_operators_that_onnxruntime_does_not_bring(self, copy, graph) -> None:
        graph.graph.node[3].domain = "evil.ops"
        assert "uses operators of 'evil.ops'" in self.refusal(copy, graph)

    def test_operators_hidden_in_a_subgraph(self, onnx, copy, graph) -> None:
        hidden = onnx.helper.make_node("Leak", [], ["x"], domain="evil.ops")
        inner = onnx.helper.make_graph([hidden], "inner", [], [])
        graph.graph.node[0].attribute.append(onnx.helper.make_attribute("body", inner))
        assert "uses operators of 'evil.ops'" in self.refusal(copy, graph)

    def test_an_operator_set_that_is_named_and_not_used(self, onnx, copy, graph) -> None:
        graph.opset_import.append(onnx.helper.make_opsetid("evil.ops", 1))
        assert "uses operators of 'evil.ops'" in self.refusal(copy, graph)

    def test_operators_that_the_graph_defines(self, onnx, copy, graph) -> None:
        graph.functions.append(onnx.helper.make_function("", "Mine", [], [], [], []))
        assert "defines operators of its own" in self.refusal(copy, graph)

    @pytest.mark.parametrize("version", [7, 99])
    def test_operators_of_a_version_that_is_not_supported(self, copy, graph, version) -> None:
        graph.opset_import[0].version = version
        assert f"uses version {version} of ONNX's operators" in self.refusal(copy, graph)

    def test_operators_of_a_version_that_the_configuration_does_not_name(self, copy, graph) -> None:
        graph.opset_import[0].version = 17
        assert "where its configuration says 23" in self.refusal(copy, graph)

    @pytest.mark.parametrize("place", ["/etc/passwd", "../other.bin", "weights.bin"])
    def test_weights_outside_of_the_file(self, onnx, copy, graph, place) -> None:
        tensor = graph.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
        assert "keeps weights outside of itself" in self.refusal(copy, graph)

    def test_a_tensor_that_the_file_is_too_small_for(self, copy, graph) -> None:
        graph.graph.initializer[0].dims[:] = [2**40, 2**10]
        assert "declares a tensor of" in self.refusal(copy, graph)

    def test_random_damage_is_refused_or_loads(self, copy) -> None:
        data, chance = (copy / "model.onnx").read_bytes(), random.Random(0)
        path = copy / "damaged.onnx"
        for _ in range(60):
            changed = bytearray(data[: chance.randrange(1, len(data))] if chance.random() < 0.3 else data)
            for _ in range(20):
                changed[chance.randrange(min(4000, len(changed)))] = chance.randrange(256)
            path.write_bytes(changed)
            with suppress(InputError):  # anything else is a failure
                check_graph(path, 18)


def test_a_lexical_file_whose_tensors_do_not_fit_is_refused(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    good = {"weights": np.zeros((8, 6), "f4"), "squared_idf": np.zeros(8, "f4"), "bias": np.zeros(6, "f4")}
    for name, wrong in (
        ("weights", np.zeros((7, 6), "f4")),
        ("squared_idf", np.zeros(4, "f4")),
        ("bias", np.zeros(5, "f4")),
    ):
        save_file({**good, name: wrong}, tmp_path / "lexical.safetensors")
        with pytest.raises(InputError, match="do not fit together"):
            load_lexical(tmp_path / "lexical.safetensors")
