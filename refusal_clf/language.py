"""A cheap guess whether a text is English: script first, then function words.

The models read English; a text that is not is scored all the same and flagged. A full language identifier
would weigh more than the model, and only "English or not" is needed.
"""

from __future__ import annotations

import re
from typing import Final

_ENGLISH: Final = frozenset(
    "the of and to a in is that it for you i as with on this be are or not have can at by from an your but if "
    "they which we was will would about more there their my so do what no any how when also me some it's i'm "
    "don't can't cannot could should has been than its may these such here's sorry".split()
)
# Words that are frequent in Spanish, French, German, Portuguese, Italian, Dutch, Polish, Turkish, Indonesian and
# Swedish, and are not English words.
_OTHER: Final = (
    frozenset(
        "de la el los las que y en un una por con para es del se lo como le les des et est dans pour une du qui pas "
        "sur vous je ne au avec ce il sont der die und das ist nicht ein eine zu den mit von auf ich sie es im dem "
        "o os um uma não do da em ao mais e di che il per non sono del della una con si le lo gli het een van "
        "niet ik dat nie jest się na że w z bir ve bu için ile yang dan di tidak untuk och att det som en på är "
        "no mi su pero muy più anche mais être é è à puedo posso peux kann".split()
    )
    - _ENGLISH
)
_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_SAMPLE_CHARS: Final = 1500
_MIN_WORDS: Final = 4


def mostly_not_english(text: str) -> bool:
    """Return True if most letters are not Latin, or foreign function words outnumber the English ones."""
    sample = text[:_SAMPLE_CHARS]
    if not sample.isascii():
        letters = [character for character in sample if character.isalpha()]
        if sum(character < "\u0250" for character in letters) < 0.6 * len(letters):
            return True
    words = _WORD.findall(sample.lower())
    if len(words) < _MIN_WORDS:
        return False
    english = sum(map(_ENGLISH.__contains__, words))
    other = sum(map(_OTHER.__contains__, words))
    return other > 1.5 * english and other >= 0.08 * len(words)
