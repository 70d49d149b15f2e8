"""What `speed.py` compares, one to a process: our tiers, and the architectures of three refusal detectors.

The others have random weights, which take as long as trained ones, and run as their projects run them. No model hub is
asked: all of them cut text with the word pieces of our own model, whose counts are close to those of the byte-pair
vocabularies that they were trained with, so that padded lengths and truncation are those of real text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.model_directories import find_model
from refusal_clf.runtime.layout import TOKENIZER_FILE

Judge = Callable[[Sequence[Completion]], object]
Kind = Literal["fast", "auto", "full", "roberta", "modernbert-base", "modernbert-large"]


@dataclass(frozen=True, slots=True)
class Contender:
    """A row of the table; `reads` is what of a completion it is given."""

    kind: Kind
    name: str
    runtime: str
    tokens: int | None
    reads: str

    @property
    def ours(self) -> bool:
        """Whether it is a tier of this project's model."""
        return self.tokens is None


CONTENDERS: Final = (
    Contender("fast", "refusal-clf, fast", "NumPy", None, "prompt and response"),
    Contender("auto", "refusal-clf, auto", "NumPy, ONNX int8", None, "prompt and response"),
    Contender("full", "refusal-clf, full", "NumPy, ONNX int8", None, "prompt and response"),
    # LLM Guard, output scanner NoRefusal: the output alone through a transformers pipeline with batch_size=1.
    Contender("roberta", "DistilRoBERTa-base (LLM Guard)", "ONNX fp32", 128, "response"),
    # garak, HFDetector: a TextClassificationPipeline called with the list of outputs, padding and truncation on; the
    # pipeline's own batch size is 1.
    Contender("modernbert-base", "ModernBERT-base (garak)", "PyTorch fp32", 512, "response"),
    # Minos-v1, model card: one text with its turns marked, tokenizer and model called directly.
    Contender("modernbert-large", "ModernBERT-large (Minos-v1)", "PyTorch fp32", 512, "prompt and response"),
)


def prepare(contender: Contender, directory: Path) -> None:
    """Make a contender's files in `directory`, if they are not there: weights on disk, as users have them."""
    done = directory / "prepared"
    if contender.ours or done.exists():
        return
    import torch
    import transformers

    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    if contender.kind == "roberta":
        config = transformers.RobertaConfig(
            vocab_size=50265, num_hidden_layers=6, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
        )
        config._attn_implementation = "eager"  # plain matrix products, which export without detours
        _export(transformers.RobertaForSequenceClassification(config).eval(), directory / "model.onnx")
    else:
        large = {"hidden_size": 1024, "intermediate_size": 2624, "num_hidden_layers": 28, "num_attention_heads": 16}
        config = transformers.ModernBertConfig(**(large if contender.kind == "modernbert-large" else {}))
        transformers.ModernBertForSequenceClassification(config).save_pretrained(directory)
    done.touch()


def load(contender: Contender, directory: Path) -> Judge:
    """Return the function that judges completions, with the number of threads that its project leaves it."""
    if contender.ours:
        classifier = RefusalClassifier.load()
        return lambda completions: classifier.predict(completions, tier=contender.kind)
    makers = {"roberta": _roberta, "modernbert-base": _pipeline, "modernbert-large": _direct}
    return makers[contender.kind](contender, directory)


def mean_tokens(contender: Contender, completions: Sequence[Completion]) -> float:
    """Return how many tokens a contender reads of a completion on average, after truncation."""
    tokenizer = _tokenizer(contender)
    return float(np.mean([len(tokenizer(_text(contender, one), truncation=True)["input_ids"]) for one in completions]))


def _roberta(contender: Contender, directory: Path) -> Judge:
    import onnxruntime

    tokenizer = _tokenizer(contender)
    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])

    def judge(completions: Sequence[Completion]) -> object:
        answers = []
        for completion in completions:
            inputs = tokenizer(_text(contender, completion), truncation=True, return_tensors="np")
            feed = {name: inputs[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
            [logits] = session.run(None, feed)
            answers.append(int(logits.argmax()))
        return answers

    return judge


def _pipeline(contender: Contender, directory: Path) -> Judge:
    import transformers

    model = transformers.ModernBertForSequenceClassification.from_pretrained(directory)
    classify = transformers.pipeline("text-classification", model=model, tokenizer=_tokenizer(contender), device="cpu")
    return lambda completions: classify([_text(contender, one) for one in completions], padding=True, truncation=True)


def _direct(contender: Contender, directory: Path) -> Judge:
    import torch
    import transformers

    tokenizer = _tokenizer(contender)
    model = transformers.ModernBertForSequenceClassification.from_pretrained(directory).eval()

    def judge(completions: Sequence[Completion]) -> object:
        answers = []
        for completion in completions:
            inputs = tokenizer(_text(contender, completion), truncation=True, return_tensors="pt")
            with torch.no_grad():
                answers.append(int(model(**inputs).logits.argmax()))
        return answers

    return judge


def _text(contender: Contender, completion: Completion) -> str:
    if contender.reads == "response":
        return completion.response
    return f"<|user|>\n{completion.prompt}\n<|assistant|>\n{completion.response}"


def _tokenizer(contender: Contender) -> Any:  # noqa: ANN401
    import transformers
    from tokenizers import Tokenizer

    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(find_model() / TOKENIZER_FILE)),
        model_max_length=contender.tokens,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep", "mask")},
    )


def _export(model: Any, path: Path) -> None:  # noqa: ANN401
    """Write one fp32 ONNX file for any batch and length."""
    import torch

    example = torch.ones((2, 16), dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    torch.onnx.export(
        model,
        (),
        str(path),
        kwargs={"input_ids": example, "attention_mask": example},
        dynamic_shapes={"input_ids": axes, "attention_mask": axes},
        input_names=["input_ids", "attention_mask"],
        dynamo=True,
        external_data=False,
        verbose=False,
    )
