"""Completions of a model in this process: greedy answers of a transformers model to batches of prompts."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from refusal_clf.records import Completion, InputError


def load_local(directory: Path) -> tuple[Any, Any]:
    """Return the model and the tokenizer of a transformers directory, on the GPU if there is one.

    Nothing is downloaded, and weights are read from safetensors alone: nothing in the directory can execute.

    Raises
    ------
    InputError
        If transformers cannot read it.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            directory, local_files_only=True, use_safetensors=True, dtype="auto"
        )
    except (OSError, ValueError, KeyError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"no usable causal model of transformers ({said})", file=directory) from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


def chat_text(tokenizer: Any, prompt: str, system: str | None = None) -> str:  # noqa: ANN401
    """Return what a model reads: the turn in its chat template or, if it has none, the prompt itself."""
    if not tokenizer.chat_template:
        return f"{system}\n\n{prompt}" if system is not None else prompt
    turns = [{"role": "system", "content": system}] if system is not None else []
    turns.append({"role": "user", "content": prompt})
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def token_ids(tokenizer: Any, text: str) -> list[int]:  # noqa: ANN401
    """Return the tokens of `chat_text`; a template writes the special ones itself."""
    return list(tokenizer(text, add_special_tokens=not tokenizer.chat_template)["input_ids"])


def greedy(model: Any, tokenizer: Any, max_new_tokens: int) -> Any:  # noqa: ANN401
    """Return the settings of greedy decoding, whatever the model's own are."""
    own = getattr(model.generation_config, "eos_token_id", None)
    # A chat model ends its turns with another token than its texts: either ends an answer.
    ends = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        use_cache=True,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(ends) or None,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0),
    )


def answer_batches(
    model: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    texts: Sequence[str],
    *,
    batch_size: int,
    max_new_tokens: int,
    wanted: Container[int] | None = None,
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[list[tuple[int, str, bool]]]:
    """Yield for each batch the places of its texts, the answers, and whether they were cut at `max_new_tokens`.

    Texts of like length are answered together. The tokenizer pads on the left.

    Parameters
    ----------
    texts
        What `chat_text` returns.
    wanted
        Places whose answers are wanted, default: all. A batch is answered whole or not at all: padding and the order of
        sums depend on the texts beside a text, and with them its last digits and, rarely, its answer.
    context
        Makes what is entered while the model generates a batch.
    """
    order = sorted(range(len(texts)), key=lambda place: len(token_ids(tokenizer, texts[place])))
    config = greedy(model, tokenizer, max_new_tokens)
    ends = config.eos_token_id or []
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        if wanted is not None and not any(place in wanted for place in places):
            continue
        chosen = [texts[place] for place in places]
        inputs = tokenizer(chosen, return_tensors="pt", padding=True, add_special_tokens=not tokenizer.chat_template)
        inputs = {name: inputs[name].to(model.device) for name in ("input_ids", "attention_mask")}
        with torch.inference_mode(), context():
            output = model.generate(**inputs, generation_config=config)
        new = output[:, inputs["input_ids"].shape[1] :]
        answers = tokenizer.batch_decode(new, skip_special_tokens=True)
        cut = [len(row) == max_new_tokens and not set(row) & set(ends) for row in new.tolist()]
        found = zip(places, answers, cut, strict=True)
        yield [one for one in found if wanted is None or one[0] in wanted]


def answer_prompts(
    model: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    prompts: Sequence[Completion],
    wanted: Container[int],
    name: str,
    *,
    system: str | None,
    batch_size: int,
    max_new_tokens: int,
) -> Iterator[tuple[Completion, bool]]:
    """Yield each wanted prompt with the model's answer under the model's name, and whether the answer was cut.

    `wanted` are places in `prompts`: what is left of a run is given with what was answered, so that the batches are the
    same.
    """
    texts = [chat_text(tokenizer, prompt.prompt, system) for prompt in prompts]
    for batch in answer_batches(
        model, tokenizer, texts, batch_size=batch_size, max_new_tokens=max_new_tokens, wanted=wanted
    ):
        for place, answer, cut in batch:
            yield replace(prompts[place], response=answer.strip(), model=name), cut
