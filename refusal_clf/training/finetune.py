"""Fine-tune the two-head encoder: seeded, resumable at each epoch, logged to TensorBoard.

What keeps it from learning the stock phrases of the models it saw: embeddings and lowest layers stay frozen,
response tokens and whole prompts are dropped at random, responses are rewritten as users' files have them, labels
are smoothed, and the weights that are kept are an exponential moving average.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, InputError
from refusal_clf.runtime.tokens import Encoded, TokenBudget, encode
from refusal_clf.training.augment import rewritten
from refusal_clf.training.checkpoint import load_checkpoint, save_checkpoint
from refusal_clf.training.dataset import IGNORE, Example, fingerprint, targets
from refusal_clf.training.network import TwoHeadEncoder, collate, run_by_length

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch.utils.tensorboard import SummaryWriter


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """Hyperparameters; learning rates fall by `layer_decay` from each layer to the one below."""

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 2e-4
    head_learning_rate: float = 1e-3
    layer_decay: float = 0.85
    weight_decay: float = 0.01
    warmup: float = 0.1
    frozen_layers: int = 1
    label_smoothing: float = 0.05
    token_dropout: float = 0.08
    prompt_dropout: float = 0.1
    subset_dropout: float = 0.15
    short_share: float = 0.25
    short_budget: int = 80
    rewritten_share: float = 0.0
    ema_decay: float = 0.99
    refusal_weight: float = 0.7
    seed: int = 0


def finetune(
    network: TwoHeadEncoder,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    config: FinetuneConfig,
    budget: TokenBudget,
    *,
    soft: NDArray[np.float32] | None = None,
    checkpoint_dir: Path | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> TwoHeadEncoder:
    """Train `network` in place and return it with averaged weights.

    `soft` are probabilities to learn from instead of the labels, shape (len(examples), 6), each head's three adding
    up to 1, or to 0 where the head has nothing to learn (`hard_targets` makes them of labels).
    With `checkpoint_dir` the state is saved after each epoch and a later call continues from it; TensorBoard
    event files go to the same folder. `report` gets one line at the start, with what the run will cost once
    that is known, and one at the end of each epoch.
    """
    torch.manual_seed(config.seed)
    variants = _variants(tokenizer, examples, config, budget)
    wanted = torch.from_numpy(hard_targets(examples, config.label_smoothing) if soft is None else soft)
    mask_id = _mask_id(tokenizer)
    freeze(network, config.frozen_layers)
    optimiser = torch.optim.AdamW(_parameter_groups(network, config), weight_decay=config.weight_decay)
    peaks = [group["lr"] for group in optimiser.param_groups]
    steps_per_epoch = math.ceil(len(examples) / config.batch_size)
    total = steps_per_epoch * config.epochs
    average = {name: value.detach().clone() for name, value in network.named_parameters() if value.requires_grad}
    run = _fingerprint(network, examples, wanted, config, budget)
    first = load_checkpoint(checkpoint_dir, network, optimiser, average, run) if checkpoint_dir else 0
    writer = _summary_writer(checkpoint_dir)
    device = next(network.parameters()).device
    step, started = first * steps_per_epoch, time.monotonic()
    for epoch in range(first, config.epochs):
        random = np.random.default_rng((config.seed, epoch))
        torch.manual_seed(config.seed * 1000 + epoch)
        network.train()
        losses = []
        for indices in _batches([len(item.ids) for item in variants[0]], config.batch_size, random):
            rate = _schedule(step / total, config.warmup)
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * rate
            batch = [_augment(variants, index, config, random, mask_id) for index in indices]
            inputs = {name: value.to(device) for name, value in collate(batch).items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_pays(device)):
                logits = network(**inputs)
            loss = _loss(logits.float(), wanted[indices].to(device), config)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            _update_average(average, network, min(config.ema_decay, (1 + step) / (10 + step)))
            losses.append(float(loss.detach()))
            step += 1
            if step == first * steps_per_epoch + 20:
                left = (time.monotonic() - started) / 20 * (total - step)
                report(f"{len(examples)} examples, {total} steps, about {left / 60:.0f} min to go")
            if writer is not None and step % 10 == 0:
                writer.add_scalar("train/loss", np.mean(losses[-10:]), step)
                writer.add_scalar("train/learning_rate", optimiser.param_groups[0]["lr"], step)
        report(f"epoch {epoch + 1}/{config.epochs}: loss {np.mean(losses):.4f}, {time.monotonic() - started:.0f} s")
        if checkpoint_dir is not None:
            save_checkpoint(checkpoint_dir, network, optimiser, average, epoch + 1, run)
    if writer is not None:
        writer.close()
    network.load_state_dict(average, strict=False)  # what was frozen is not averaged
    return network.eval()


def predict_logits(
    network: TwoHeadEncoder,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    budget: TokenBudget,
    *,
    batch_size: int = 64,
) -> NDArray[np.float32]:
    """Return the encoder's raw scores, shape (len(examples), 6), in the order of `examples`."""
    network.eval()
    encoded = encode(tokenizer, [example.text for example in examples], budget)
    device = next(network.parameters()).device
    return run_by_length(network, encoded, network.heads.out_features, device, batch_size=batch_size)


def freeze(network: TwoHeadEncoder, n_layers: int) -> None:
    """Keep the embeddings and the lowest `n_layers` as they came: words not in the data keep their meaning."""
    for part in (network.encoder.embeddings, *network.encoder.encoder.layer[:n_layers]):
        part.requires_grad_(False)


def _fingerprint(
    network: TwoHeadEncoder, examples: Sequence[Example], wanted: Tensor, config: FinetuneConfig, budget: TokenBudget
) -> str:
    """Identify a run by all that decides its course: data, targets, settings and the weights that it begins with."""
    weights = hashlib.sha256(wanted.numpy().tobytes())
    for value in network.state_dict().values():
        weights.update(value.cpu().numpy().tobytes())
    return fingerprint(examples, config, budget, weights.hexdigest())


def _mask_id(tokenizer: Tokenizer) -> int:
    mask_id = tokenizer.token_to_id("[MASK]")
    if mask_id is None:
        raise InputError("the tokenizer has no [MASK] token")
    return mask_id


def _variants(
    tokenizer: Tokenizer, examples: Sequence[Example], config: FinetuneConfig, budget: TokenBudget
) -> list[list[Encoded]]:
    """Encode every text five ways: whole, without its prompt, without its subset, clipped short, and rewritten."""
    texts = [example.text for example in examples]
    share = config.short_budget / budget.total
    short = TokenBudget(config.short_budget, round(budget.prompt * share), round(budget.response_tail * share))
    return [
        encode(tokenizer, texts, budget),
        encode(tokenizer, [replace(text, prompt="") for text in texts], budget),
        encode(tokenizer, [replace(text, subset="") for text in texts], budget),
        encode(tokenizer, texts, short),
        encode(tokenizer, [example.text for example in rewritten(examples, config.seed)], budget),
    ]


def _augment(
    variants: list[list[Encoded]], index: int, config: FinetuneConfig, random: np.random.Generator, mask_id: int
) -> Encoded:
    bounds = np.cumsum([config.prompt_dropout, config.subset_dropout, config.short_share, config.rewritten_share])
    item = variants[(1, 2, 3, 4, 0)[int(np.searchsorted(bounds, random.random(), side="right"))]][index]
    ids = np.array(item.ids)
    dropped = random.random(len(ids)) < config.token_dropout
    dropped[: item.n_context] = dropped[-1] = False
    ids[dropped] = mask_id  # which the encoder's pre-training knows as "some word"
    return replace(item, ids=tuple(ids.tolist()))


def _batches(lengths: Sequence[int], size: int, random: np.random.Generator) -> Iterator[list[int]]:
    """Shuffle, then sort stretches of 50 batches by length so that little is padding; batches come shuffled."""
    order = random.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), size * 50):
        stretch = sorted(order[start : start + size * 50].tolist(), key=lambda index: lengths[index])
        batches += [stretch[i : i + size] for i in range(0, len(stretch), size)]
    for index in random.permutation(len(batches)):
        yield batches[index]


def hard_targets(examples: Sequence[Example], smoothing: float) -> NDArray[np.float32]:
    """Return smoothed one-hot labels of both heads, shape (len(examples), 6); zeros where a label was not given."""
    labels = targets(examples)
    wanted = np.zeros((len(examples), len(VERDICTS) + len(REFUSAL_CLASSES)), np.float32)
    for head, names, offset in ((0, VERDICTS, 0), (1, REFUSAL_CLASSES, len(VERDICTS))):
        rows = np.flatnonzero(labels[:, head] != IGNORE)
        wanted[rows, offset : offset + len(names)] = smoothing / len(names)
        wanted[rows, offset + labels[rows, head]] += 1 - smoothing
    return wanted


def _loss(logits: Tensor, wanted: Tensor, config: FinetuneConfig) -> Tensor:
    """Cross entropy with soft labels, each head averaged over the rows that it has labels for."""
    total = logits.sum() * 0.0
    for columns, weight in ((slice(0, len(VERDICTS)), 1.0), (slice(len(VERDICTS), None), config.refusal_weight)):
        labelled = wanted[:, columns].sum()
        if bool(labelled > 0):
            logs = nn.functional.log_softmax(logits[:, columns], dim=-1)
            total = total - weight * (wanted[:, columns] * logs).sum() / labelled
    return total


def _parameter_groups(network: TwoHeadEncoder, config: FinetuneConfig) -> list[dict[str, object]]:
    groups: list[dict[str, object]] = [{"params": list(network.heads.parameters()), "lr": config.head_learning_rate}]
    layers = list(network.encoder.encoder.layer)
    for depth, layer in enumerate(reversed(layers)):
        trainable = [parameter for parameter in layer.parameters() if parameter.requires_grad]
        if trainable:
            groups.append({"params": trainable, "lr": config.learning_rate * config.layer_decay**depth})
    return groups


def _schedule(progress: float, warmup: float) -> float:
    return progress / warmup if progress < warmup else max(0.02, (1 - progress) / (1 - warmup))


def _update_average(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name in average:
                average[name].lerp_(value, 1 - decay)


def bfloat16_pays(device: torch.device) -> bool:
    """Processors with AVX-512 BF16 or AMX train more than twice as fast in bfloat16; others emulate it."""
    return device.type != "cpu" or bool(torch.cpu._is_avx512_bf16_supported())


def _summary_writer(directory: Path | None) -> SummaryWriter | None:
    if directory is None:
        return None
    from torch.utils import tensorboard

    return tensorboard.SummaryWriter(str(directory))
