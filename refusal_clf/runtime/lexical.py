"""The lexical tier: hashed word and character n-grams, a linear layer, NumPy alone.

Hashing trick: Weinberger et al. 2009 (arXiv:0902.2206). Hashes are computed for a whole text at once with
array arithmetic, which is what makes a Python implementation fast enough for streams. The arithmetic below is
part of a trained model: changing it makes old weights meaningless (raise `FEATURES_VERSION`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from refusal_clf.records import InputError
from refusal_clf.text import Prepared

FEATURES_VERSION: Final = 2
DEFAULT_BITS: Final = 18

UInt32 = NDArray[np.uint32]
Float32 = NDArray[np.float32]

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[^\w\s]")
_HEAD_CHARS: Final = 1000
_TAIL_CHARS: Final = 400
_PROMPT_CHARS: Final = 600
_OPENING_WORDS: Final = 14
_CHAR_ORDERS: Final = (3, 5)
_N_RUBRIC: Final = 3
_N_SHAPE: Final = 3
_PRIME: Final = np.uint32(0x01000193)  # FNV-1's 32-bit prime
_MIX: Final = np.uint32(0x85EBCA6B)  # MurmurHash3's finaliser
_SALTS: Final = {
    name: np.uint32(crc32(name.encode()))
    for name in ("word", "opening", "ending", "prompt", "rubric", "rubric×word", "subset×word", "char", "shape")
}


def features(text: Prepared, n_bits: int = DEFAULT_BITS) -> UInt32:
    """Return the distinct hashed features of one text, as indices in [0, 2**n_bits).

    Families, each under its own salt: word 1- to 3-grams of the response, of its opening and of its end;
    character 3- and 5-grams of the response; word 1- and 2-grams of the prompt; rubric and subset;
    the rubric crossed with the response's words and word pairs; the subset crossed with its words; length and
    overlap with the prompt in a few steps.
    """
    response = _visible(text.response.lower())
    hashes = _families(text, response, _WORD.findall(response), _prompt_words(text))
    return _distinct(hashes >> np.uint32(32 - n_bits))


@dataclass(frozen=True, slots=True)
class Located:
    """Every occurrence of a feature in a text, repeated ones included.

    `index` is in [0, 2**n_bits); `start` and `end` are characters of the prepared response, end exclusive, both -1 for
    what does not stand there: prompt, rubric, subset and shape. All have shape (occurrences,).
    """

    index: UInt32
    start: NDArray[np.int64]
    end: NDArray[np.int64]


def locate(text: Prepared, n_bits: int = DEFAULT_BITS) -> Located:
    """Return where the features of one text stand; their distinct indices are those of `features`."""
    lowered = text.response.lower()
    response = _visible(lowered)
    # A letter can become two when it is lowered, and a long response loses its middle.
    place = np.repeat(np.arange(len(text.response)), [len(letter.lower()) for letter in text.response])
    if len(response) < len(lowered):
        place = np.concatenate([place[: _HEAD_CHARS + 1], place[-_TAIL_CHARS:]])
    matches = list(_WORD.finditer(response))
    words = np.array([(place[match.start()], place[match.end() - 1] + 1) for match in matches]).reshape(-1, 2)
    # `_families` pads the response with a space on each side.
    letters = np.stack([place, place + 1], axis=1)[[0, *range(len(place)), -1]] if len(place) else words
    nowhere = np.full((1, 2), -1)
    prompt_words = _prompt_words(text)
    spans = [
        *(_runs(words, order) for order in (1, 2, 3)),
        *(_runs(words[:_OPENING_WORDS], order) for order in (1, 2, 3)),
        *(_runs(words[-_OPENING_WORDS:], order) for order in (1, 2)),
        *(nowhere.repeat(max(0, len(prompt_words) + 1 - order), axis=0) for order in (1, 2)),
        nowhere.repeat(_N_RUBRIC, axis=0),
        *(_runs(words, order) for order in (1, 2, 1)),
        *(_runs(letters, order) for order in _CHAR_ORDERS),
        nowhere.repeat(_N_SHAPE, axis=0),
    ]
    start, end = np.concatenate(spans).T
    hashes = _families(text, response, [match.group() for match in matches], prompt_words)
    return Located(hashes >> np.uint32(32 - n_bits), start, end)


def _families(text: Prepared, response: str, words: list[str], prompt_words: list[str]) -> UInt32:
    """Return the hashes of every occurrence, family by family; `locate` knows the order."""
    hashed, prompt = _word_hashes(words), _word_hashes(prompt_words)
    rubric = np.uint32(crc32(text.rubric.encode()))
    subset = np.uint32(crc32(text.subset.encode()))
    unigrams, bigrams, trigrams = (_ngrams(hashed, order) for order in (1, 2, 3))
    with np.errstate(over="ignore"):
        families = (
            (_SALTS["word"], (unigrams, bigrams, trigrams)),
            (_SALTS["opening"], _first(_OPENING_WORDS, unigrams, bigrams, trigrams)),
            (_SALTS["ending"], _last(_OPENING_WORDS, unigrams, bigrams)),
            (_SALTS["prompt"], (_ngrams(prompt, 1), _ngrams(prompt, 2))),
            (_SALTS["rubric"], (np.array([rubric, subset, rubric ^ subset * _PRIME], np.uint32),)),
            (rubric * _MIX ^ _SALTS["rubric×word"], (unigrams, bigrams)),
            (subset * _MIX ^ _SALTS["subset×word"], (unigrams,)),
            (_SALTS["char"], _character_ngrams(response)),
            (_SALTS["shape"], (_shape(words, prompt_words),)),
        )
    hashes = np.concatenate([part for _, parts in families for part in parts])
    start = 0
    for salt, parts in families:
        end = start + sum(map(len, parts))
        hashes[start:end] ^= salt
        start = end
    return _mixed(hashes)


@dataclass(frozen=True, slots=True)
class LexicalModel:
    """A trained lexical tier.

    Attributes
    ----------
    weights
        float16 or float32 array of shape (2**n_bits, n_outputs): the coefficient of each feature, already
        multiplied by its inverse document frequency. float32 is read twice as fast, float16 is how it is stored.
    squared_idf
        Array of shape (2**n_bits,): what each feature adds to the squared norm of its text.
    bias
        float32 array of shape (n_outputs,).
    """

    weights: NDArray[np.floating]
    squared_idf: NDArray[np.floating]
    bias: Float32

    @property
    def n_bits(self) -> int:
        """The feature space has 2**n_bits dimensions."""
        return int(self.squared_idf.shape[0]).bit_length() - 1

    def logits(self, texts: Sequence[Prepared]) -> Float32:
        """Return scores of shape (len(texts), n_outputs); each head's softmax makes them probabilities."""
        rows = np.empty((len(texts), self.bias.shape[0]), np.float32)
        for row, text in zip(rows, texts, strict=True):
            index = features(text, self.n_bits)
            norm = float(np.sqrt(self.squared_idf.take(index).sum(dtype=np.float32))) or 1.0
            row[:] = self.weights.take(index, axis=0).sum(axis=0, dtype=np.float32) / norm + self.bias
        return rows

    def shares(self, text: Prepared) -> tuple[Located, NDArray[np.float64]]:
        """Return every occurrence of a feature and what it adds to the scores, shape (occurrences, n_outputs).

        The sum over all of them is `logits` less the bias. A feature that occurs several times counts once, so that
        its occurrences have equal parts of its weight.
        """
        located = locate(text, self.n_bits)
        index, which, times = np.unique(located.index, return_inverse=True, return_counts=True)
        norm = float(np.sqrt(self.squared_idf[index].sum(dtype=np.float32))) or 1.0
        return located, (self.weights[index] / (norm * times[:, None]))[which]


def load_lexical(path: Path) -> LexicalModel:
    """Load a lexical tier from safetensors, as float32; nothing in the file can execute."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
        weights, squared_idf = (tensors[name].astype(np.float32) for name in ("weights", "squared_idf"))
        model = LexicalModel(weights, squared_idf, tensors["bias"])
    except (SafetensorError, KeyError) as error:
        raise InputError(f"holds no lexical tier ({error})", file=path) from error
    rows, outputs = (*model.weights.shape, 0, 0)[:2]
    if rows.bit_count() != 1 or model.squared_idf.shape != (rows,) or model.bias.shape != (outputs,):
        raise InputError("holds no lexical tier (its tensors do not fit together)", file=path)
    return model


def _visible(response: str) -> str:
    """Return what the tier reads of a response in lower case: head and tail of a long one."""
    if len(response) <= _HEAD_CHARS + _TAIL_CHARS:
        return response
    return response[:_HEAD_CHARS] + "\n" + response[-_TAIL_CHARS:]


def _prompt_words(text: Prepared) -> list[str]:
    return _WORD.findall(text.prompt.lower()[:_PROMPT_CHARS])


def _runs(spans: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """Return from where to where each run of `order` spans reaches, shape (runs, 2)."""
    size = max(0, len(spans) - order + 1)
    return np.stack([spans[:size, 0], spans[order - 1 : order - 1 + size, 1]], axis=1)


def _distinct(values: UInt32) -> UInt32:
    """Return sorted distinct values, as `np.unique` does in ten times the time."""
    values.sort()
    first = np.empty(len(values), np.bool_)
    first[:1] = True
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return values[first]


def _word_hashes(words: list[str]) -> UInt32:
    return np.fromiter(map(crc32, map(str.encode, words)), np.uint32, len(words))


def _ngrams(hashes: UInt32, order: int) -> UInt32:
    """Combine each run of `order` hashes into one; empty if there are fewer."""
    size = len(hashes) - order + 1
    if size <= 0:
        return np.empty(0, np.uint32)
    combined = hashes[:size] * _PRIME
    for offset in range(1, order):
        combined ^= hashes[offset : offset + size]
        combined *= _PRIME
    combined ^= np.uint32(order)
    return combined


def _first(n_words: int, *ngrams: UInt32) -> list[UInt32]:
    """Return the n-grams of a text's first words, given all of it, of orders 1, 2 and so on."""
    return [every[: n_words - below] for below, every in enumerate(ngrams)]


def _last(n_words: int, *ngrams: UInt32) -> list[UInt32]:
    """Return the n-grams of a text's last words; arguments are those of `_first`."""
    return [every[-(n_words - below) :] for below, every in enumerate(ngrams)]


def _character_ngrams(text: str) -> list[UInt32]:
    codes = np.frombuffer(f" {text} ".encode("utf-32-le"), np.uint32) * _MIX
    return [_ngrams(codes, order) for order in _CHAR_ORDERS]


def _mixed(hashes: UInt32) -> UInt32:
    """Mix in place so that the high bits, the index to be, depend on all low ones (MurmurHash3's finaliser)."""
    hashes ^= hashes >> np.uint32(16)
    hashes *= _MIX
    hashes ^= hashes >> np.uint32(13)
    hashes *= np.uint32(0xC2B2AE35)
    hashes ^= hashes >> np.uint32(16)
    return hashes


def _shape(words: list[str], prompt_words: list[str]) -> UInt32:
    """Length of the response, length of the prompt, and how much of the prompt returns, in coarse steps."""
    overlap = len(set(words[:60]) & set(prompt_words)) / max(1, len(set(prompt_words)))
    return np.array(
        [len(words).bit_length(), 100 + len(prompt_words).bit_length(), 200 + round(overlap * 5)], np.uint32
    )
