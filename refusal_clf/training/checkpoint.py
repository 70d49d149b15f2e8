"""The state of a training run between epochs, in safetensors: nothing in it can execute when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from refusal_clf.writing import completing

_FILE: Final = "checkpoint.safetensors"


def save_checkpoint(
    directory: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor],
    epoch: int,
    fingerprint: str,
) -> None:
    """Write weights, averaged weights and optimiser moments of the run that `fingerprint` identifies.

    `epoch` is the number of epochs done.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average/{name}": value for name, value in average.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": torch.as_tensor(value) for name, value in state.items()}
    with completing(directory / _FILE) as part:
        save_file(
            {name: value.detach().contiguous().cpu().clone() for name, value in tensors.items()},
            part,
            metadata={"epoch": str(epoch), "fingerprint": fingerprint},
        )


def load_checkpoint(
    directory: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor],
    fingerprint: str,
) -> int:
    """Restore a run in place if the folder holds its checkpoint; return how many epochs it had done.

    A checkpoint of another run, with other data, settings or weights to begin with, is left alone.
    """
    path = directory / _FILE
    if not path.exists():
        return 0
    groups: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("fingerprint") != fingerprint:
            return 0
        epoch = int(metadata["epoch"])
        for key in file.keys():  # noqa: SIM118 - not a dictionary
            kind, name = key.split("/", 1)
            groups[kind][name] = file.get_tensor(key)
    network.load_state_dict(groups["network"])
    average.update(groups["average"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in groups["optimiser"].items():
        index, field = name.split("/")
        moments.setdefault(int(index), {})[field] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return epoch
