"""`RefusalClassifier`: a loaded model that turns completions into verdicts."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from refusal_clf.answers import Answer, Recent
from refusal_clf.contradiction import contradictory
from refusal_clf.model_directories import find_model
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, Completion, InputError, Verdict
from refusal_clf.runtime import layout
from refusal_clf.runtime.blend import answers
from refusal_clf.runtime.encoder import EncoderTier, Pending, available_processors
from refusal_clf.runtime.graph_file import check_graph
from refusal_clf.runtime.lexical import LexicalModel, load_lexical
from refusal_clf.runtime.tokens import encode, load_tokenizer
from refusal_clf.text import Prepared, prepare

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TierChoice = Literal["auto", "fast", "full"]
CHUNK: Final = 512
"""Completions that are prepared, sorted by length and scored together; at most, and less at the start of a stream."""
_FIRST_CHUNK: Final = 64

_AHEAD: Final = 1

_OFF_GROUND: Final = frozenset(
    {"non_english", "code_only", "gibberish", "obfuscated", "grader_injection", "contradictory"}
)
"""Flags of responses that the model was not made to read, or that say two things: however sure it seems, it is not to
be trusted."""

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
        self.threads = threads or available_processors()

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
        check_graph(directory / layout.ENCODER_FILE, config.opset)
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
        return list(self._encoder.session.get_providers())

    def predict(self, completions: Iterable[Completion], *, tier: TierChoice = "auto") -> list[Verdict]:
        """Return a verdict for each completion, in order. See `stream`."""
        return list(self.stream(completions, tier=tier))

    def stream(self, completions: Iterable[Completion], *, tier: TierChoice = "auto") -> Iterator[Verdict]:
        """Yield a verdict for each completion, in order.

        `CHUNK` completions are read and prepared while the encoder works on those before them, so that two chunks are
        held at a time. A text that came among the last `answers.REMEMBERED` different ones is not computed again. If
        reading fails, the verdicts of what was read are yielded before the error is raised.

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
        for completion, text, answer in self._answered(completions, tier):
            yield _empty(completion, text) if answer is None else self._verdict(completion, text, answer)

    def probabilities(self, completions: Iterable[Completion], *, tier: TierChoice = "auto") -> NDArray[np.float32]:
        """Return calibrated probabilities, shape (completions, 6): of `VERDICTS`, then of `REFUSAL_CLASSES`.

        What `stream` rounds and decides by. Each half of a row adds up to 1; an empty response's are NaN.
        """
        unknown = np.full(_N_VERDICTS + len(REFUSAL_CLASSES), np.nan, np.float32)
        rows = [
            unknown if answer is None else np.array(answer.probabilities, np.float32)
            for _, _, answer in self._answered(completions, tier)
        ]
        return np.array(rows, np.float32).reshape(-1, len(unknown))

    def _answered(self, completions: Iterable[Completion], tier: TierChoice) -> Iterator[_Answered]:
        """Yield each completion with its text and answer, in order; see `stream`."""
        if tier not in get_args(TierChoice):
            raise InputError(f"unknown tier {tier!r} (known: {', '.join(get_args(TierChoice))})")
        source = _chunks(completions)
        recent = Recent()
        begun: deque[_Chunk] = deque()
        failure: Exception | None = None
        try:
            while True:
                try:
                    chunk = next(source, None)
                except Exception as error:  # whatever reading raises, it is raised again below
                    failure, chunk = error, None
                if chunk is None:
                    break
                begun.append(self._begin(chunk, tier, recent))
                if len(begun) > _AHEAD:
                    yield from self._finish(begun.popleft())
            while begun:
                yield from self._finish(begun.popleft())
        finally:
            for left in begun:
                left.cancel()
        if failure is not None:
            raise failure

    def _begin(self, completions: Sequence[Completion], tier: TierChoice, recent: Recent) -> _Chunk:
        """Ask the lexical tier, and set the encoder to work on what it is to answer."""
        texts = [prepare(completion) for completion in completions]
        answers_of, new = recent.look_up(texts)
        lexical = self.lexical.logits([text for text, _ in new])
        verdicts = self.config.verdict.fast.probabilities(None, lexical[:, :_N_VERDICTS])
        refusals = self.config.refusal.fast.probabilities(None, lexical[:, _N_VERDICTS:])
        rows = np.flatnonzero(self._to_encoder(verdicts, refusals, tier)).tolist()
        encoded = encode(self._tokenizer, [new[row][0] for row in rows], self.config.budget) if len(rows) else []
        pending = self._encoder.submit(encoded) if encoded else None
        for row, pieces in zip(rows, encoded, strict=True):
            answer = new[row][1]
            answer.tier, answer.truncated = "full", pieces.truncated
        fast = np.concatenate((verdicts, refusals), axis=1)
        return _Chunk(completions, texts, answers_of, new, fast, rows, lexical[rows], pending)

    def _finish(self, chunk: _Chunk) -> Iterator[_Answered]:
        """Wait for the encoder, and fill in the answers."""
        probabilities = chunk.probabilities
        if chunk.pending is not None:
            raw = chunk.pending.result()
            verdicts = self.config.verdict.full.probabilities(raw[:, :_N_VERDICTS], chunk.lexical[:, :_N_VERDICTS])
            refusals = self.config.refusal.full.probabilities(raw[:, _N_VERDICTS:], chunk.lexical[:, _N_VERDICTS:])
            probabilities[chunk.asked] = np.concatenate((verdicts, refusals), axis=1)
        p_refusal = (1 - probabilities[:, _N_VERDICTS + _FULL_COMPLIANCE]).tolist()
        decided = zip(
            probabilities.tolist(),
            [VERDICTS[at] for at in probabilities[:, :_N_VERDICTS].argmax(axis=1)],
            [REFUSAL_CLASSES[at] for at in answers(probabilities[:, _N_VERDICTS:], REFUSAL_CLASSES)],
            p_refusal,
            strict=True,
        )
        for (_, answer), found in zip(chunk.new, decided, strict=True):
            answer.decide(*found)
        for row in contradictory([text for text, _ in chunk.new], p_refusal, self.refuses):
            chunk.new[row][1].contradictory = True
        yield from zip(chunk.completions, chunk.texts, chunk.answers, strict=True)

    def _to_encoder(
        self, verdicts: NDArray[np.float32], refusals: NDArray[np.float32], tier: TierChoice
    ) -> NDArray[np.bool_]:
        if tier != "auto":
            return np.full(len(verdicts), tier == "full")
        unsure: NDArray[np.bool_] = (verdicts.max(axis=1, initial=0) < self.config.verdict.fast_above) | (
            refusals.max(axis=1, initial=0) < self.config.refusal.fast_above
        )
        return unsure

    def refuses(self, texts: Sequence[Prepared]) -> NDArray[np.float32]:
        """Return the lexical tier's probability of a refusal of either kind, shape (len(texts),)."""
        scores = self.lexical.logits(texts)[:, _N_VERDICTS:]
        refused: NDArray[np.float32] = 1 - self.config.refusal.fast.probabilities(None, scores)[:, _FULL_COMPLIANCE]
        return refused

    def _verdict(self, completion: Completion, text: Prepared, answer: Answer) -> Verdict:
        flags = list(text.flags)
        if answer.truncated and "truncated_input" not in flags:
            flags.append("truncated_input")
        if answer.contradictory:
            flags.append("contradictory")
        likeliest = max(answer.probabilities[:_N_VERDICTS])
        if likeliest < self.config.verdict.uncertain_below or not _OFF_GROUND.isdisjoint(flags):
            flags.append("uncertain")
        return Verdict.of(
            completion,
            verdict=answer.verdict,
            p_noncompliance=round(answer.probabilities[_NONCOMPLIANCE], 4),
            refusal=answer.refusal,
            p_refusal=round(answer.p_refusal, 4),
            tier=answer.tier,
            flags=tuple(flags),
        )

    def logits(self, texts: Sequence[Prepared]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the raw scores of the lexical tier and of the encoder, each of shape (len(texts), 6).

        The first three columns are the verdict's, the others the refusal class's; `config` says how they are blended.
        """
        pending = self._encoder.submit(encode(self._tokenizer, texts, self.config.budget))
        return self.lexical.logits(texts), pending.result()

    @cached_property
    def lexical(self) -> LexicalModel:
        """The first tier."""
        return load_lexical(self.directory / layout.LEXICAL_FILE)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.directory / layout.TOKENIZER_FILE)

    @cached_property
    def _encoder(self) -> EncoderTier:
        encoder = EncoderTier(self.directory / layout.ENCODER_FILE, self.threads)
        if not encoder.knows(self._tokenizer.get_vocab_size() - 1):
            raise InputError(
                f"has more word pieces than {layout.ENCODER_FILE} knows: it is another model's",
                file=self.directory / layout.TOKENIZER_FILE,
            )
        return encoder


_Answered = tuple[Completion, Prepared, Answer | None]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Completions on their way; a text without content has no answer.

    `new` are the texts that did not come before and `probabilities` the lexical tier's of them, shape (new, 6); `asked`
    are the rows that the encoder's `pending` scores will replace, `lexical` the other tier's scores of these, shape
    (asked, 6).
    """

    completions: Sequence[Completion]
    texts: Sequence[Prepared]
    answers: Sequence[Answer | None]
    new: Sequence[tuple[Prepared, Answer]]
    probabilities: NDArray[np.float32]
    asked: Sequence[int]
    lexical: NDArray[np.float32]
    pending: Pending | None

    def cancel(self) -> None:
        if self.pending is not None:
            self.pending.cancel()


def _chunks(completions: Iterable[Completion]) -> Iterator[list[Completion]]:
    """Cut into chunks; where reading fails, what came before in the same chunk is yielded first.

    Each of the first is twice the one before, so that the encoder need not wait for `CHUNK` texts to be prepared.
    """
    chunk: list[Completion] = []
    size = min(CHUNK, _FIRST_CHUNK)
    try:
        for completion in completions:
            chunk.append(completion)
            if len(chunk) == size:
                yield chunk
                chunk, size = [], min(CHUNK, 2 * size)
    except Exception:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _empty(completion: Completion, text: Prepared) -> Verdict:
    return Verdict.of(
        completion, "neither", p_noncompliance=None, refusal=None, p_refusal=None, tier="rule", flags=text.flags
    )
