"""`RefusalClassifier`: a loaded model that turns completions into verdicts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, Completion, InputError, Verdict
from refusal_clf.runtime import encoder, layout
from refusal_clf.runtime.blend import answers
from refusal_clf.runtime.lexical import LexicalModel, load_lexical
from refusal_clf.runtime.tokens import Encoded, encode
from refusal_clf.text import Prepared, prepare

if TYPE_CHECKING:
    import onnxruntime
    from tokenizers import Tokenizer

TierChoice = Literal["auto", "fast", "full"]
DEFAULT_MODEL: Final = "refusal-clf-minilm"
CHUNK: Final = 512
"""Completions that are prepared, sorted by length and scored together; what memory a stream needs."""

_OFF_GROUND: Final = frozenset({"non_english", "code_only", "gibberish"})
"""Flags of responses that the model was not made to read: however sure it seems, it is not to be trusted."""

_NONCOMPLIANCE: Final = VERDICTS.index("noncompliance")
_FULL_COMPLIANCE: Final = REFUSAL_CLASSES.index("full_compliance")
_N_VERDICTS: Final = len(VERDICTS)


class RefusalClassifier:
    """A model directory, loaded. Make one with `load`; it is safe to share between threads.

    Attributes
    ----------
    name, sha256
        The model's name, and one checksum over all of its files.
    directory, config, threads
        Where it lies, its `config.json`, and the threads that the encoder uses.
    """

    def __init__(self, directory: Path, config: layout.ModelConfig, threads: int | None = None) -> None:
        self.directory = directory
        self.config = config
        self.name = config.name
        self.threads = threads or encoder.available_processors()

    @classmethod
    def load(cls, model: str | Path | None = None, *, threads: int | None = None) -> RefusalClassifier:
        """Load a packaged model by name, or any exported model directory.

        Parameters
        ----------
        model
            A name that `available_models` returns, or a path. Default: the packaged default model.
        threads
            Threads for the encoder; default: the processors that this process may use.

        Raises
        ------
        InputError
            If there is no such model, or a file of it is missing, changed or of another version.
        """
        directory = find_model(model)
        config = layout.read_config(directory)
        layout.verify(directory, config)
        return cls(directory, config, threads)

    @cached_property
    def sha256(self) -> str:
        """One checksum over the weights and everything in the configuration that decides an answer."""
        parts = (
            json.dumps(self.config.files, sort_keys=True),
            repr(self.config.verdict),
            repr(self.config.refusal),
        )
        return hashlib.sha256("\n".join((*parts, repr(self.config.budget))).encode()).hexdigest()

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's execution providers in use."""
        return list(self._session.get_providers())

    def predict(self, completions: Iterable[Completion], *, tier: TierChoice = "auto") -> list[Verdict]:
        """Return a verdict for each completion, in order. See `stream`."""
        return list(self.stream(completions, tier=tier))

    def stream(self, completions: Iterable[Completion], *, tier: TierChoice = "auto") -> Iterator[Verdict]:
        """Yield a verdict for each completion, in order, reading `CHUNK` of them at a time.

        Parameters
        ----------
        completions
            Any iterable; it is never held as a whole.
        tier
            `fast`: the lexical tier alone. `full`: every completion goes through the encoder too. `auto`: the
            encoder is asked only where the lexical tier is not sure enough.

        Raises
        ------
        InputError
            If the tier is unknown.
        """
        if tier not in get_args(TierChoice):
            raise InputError(f"unknown tier {tier!r} (known: {', '.join(get_args(TierChoice))})")
        iterator = iter(completions)
        while chunk := list(islice(iterator, CHUNK)):
            yield from self._judge(chunk, tier)

    def _judge(self, chunk: Sequence[Completion], tier: TierChoice) -> Iterator[Verdict]:
        texts = [prepare(completion) for completion in chunk]
        answered = [index for index, text in enumerate(texts) if "empty" not in text.flags]
        scored = [texts[index] for index in answered]
        lexical = self._lexical.logits(scored)
        verdicts = self.config.verdict.fast.probabilities(None, lexical[:, :_N_VERDICTS])
        refusals = self.config.refusal.fast.probabilities(None, lexical[:, _N_VERDICTS:])
        asked = self._to_encoder(verdicts, refusals, tier)
        encoded: dict[int, Encoded] = {}
        if asked.any():
            rows = np.flatnonzero(asked)
            pieces = encode(self._tokenizer, [scored[row] for row in rows], self.config.budget)
            encoded = dict(zip(rows.tolist(), pieces, strict=True))
            raw = encoder.run(self._session, pieces)
            verdicts[rows] = self.config.verdict.full.probabilities(raw[:, :_N_VERDICTS], lexical[rows, :_N_VERDICTS])
            refusals[rows] = self.config.refusal.full.probabilities(raw[:, _N_VERDICTS:], lexical[rows, _N_VERDICTS:])
        position = {index: row for row, index in enumerate(answered)}
        for index, (completion, text) in enumerate(zip(chunk, texts, strict=True)):
            row = position.get(index)
            if row is None:
                yield _empty(completion, text)
            else:
                yield self._verdict(completion, text, verdicts[row], refusals[row], encoded.get(row))

    def _to_encoder(
        self, verdicts: NDArray[np.float32], refusals: NDArray[np.float32], tier: TierChoice
    ) -> NDArray[np.bool_]:
        if tier != "auto":
            return np.full(len(verdicts), tier == "full")
        unsure: NDArray[np.bool_] = (verdicts.max(axis=1, initial=0) < self.config.verdict.fast_above) | (
            refusals.max(axis=1, initial=0) < self.config.refusal.fast_above
        )
        return unsure

    def _verdict(
        self,
        completion: Completion,
        text: Prepared,
        verdict: NDArray[np.float32],
        refusal: NDArray[np.float32],
        encoded: Encoded | None,
    ) -> Verdict:
        flags = list(text.flags)
        if encoded is not None and encoded.truncated and "truncated_input" not in flags:
            flags.append("truncated_input")
        if verdict.max() < self.config.verdict.uncertain_below or not _OFF_GROUND.isdisjoint(flags):
            flags.append("uncertain")
        return Verdict(
            id=completion.id,
            suite=completion.suite,
            subset=completion.subset,
            category=completion.category,
            subcategory=completion.subcategory,
            model=completion.model,
            verdict=VERDICTS[int(verdict.argmax())],
            p_noncompliance=round(float(verdict[_NONCOMPLIANCE]), 4),
            refusal=REFUSAL_CLASSES[int(answers(refusal[None], REFUSAL_CLASSES)[0])],
            p_refusal=round(float(1 - refusal[_FULL_COMPLIANCE]), 4),
            tier="fast" if encoded is None else "full",
            flags=tuple(flags),
        )

    @cached_property
    def _lexical(self) -> LexicalModel:
        return load_lexical(self.directory / layout.LEXICAL_FILE)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.directory / layout.TOKENIZER_FILE)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return encoder.make_session(self.directory / layout.ENCODER_FILE, self.threads)


def find_model(model: str | Path | None = None) -> Path:
    """Return the directory of a packaged model or of a path.

    Raises
    ------
    InputError
        If neither exists; the message lists the packaged models.
    """
    name = str(model or DEFAULT_MODEL)
    packaged = available_models()
    if name in packaged:
        return packaged[name]
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    raise InputError(f"no model {name!r}: not a directory, and the packaged models are {', '.join(packaged) or 'none'}")


def available_models() -> dict[str, Path]:
    """Return the packaged models: name -> directory (in the wheel, or in `models/` of a clone)."""
    package = Path(__file__).parent
    found: dict[str, Path] = {}
    for root in (package / "models", package.parent / "models"):
        if root.is_dir():
            for config in sorted(root.glob(f"*/{layout.CONFIG_FILE}")):
                found.setdefault(config.parent.name, config.parent)
    return found


def load_tokenizer(path: Path) -> Tokenizer:
    """Load a tokenizer with truncation and padding off: both are done by `runtime.tokens`.

    Raises
    ------
    InputError
        If the file is not a tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise InputError(f"not a usable tokenizer: {error}", file=path) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _empty(completion: Completion, text: Prepared) -> Verdict:
    return Verdict(
        id=completion.id,
        suite=completion.suite,
        subset=completion.subset,
        category=completion.category,
        subcategory=completion.subcategory,
        model=completion.model,
        verdict="neither",
        p_noncompliance=None,
        refusal=None,
        p_refusal=None,
        tier="rule",
        flags=text.flags,
    )
