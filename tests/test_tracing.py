"""Traced text: prepared as plain text is, each character with its place in the original."""

from __future__ import annotations

import base64
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refusal_clf import Completion
from refusal_clf.text import prepare, trace
from refusal_clf.tracing import Traced, fold

PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["<think>no</think>", "</think>", "<|im_end|>", "<|im_start|>user", "[REFUSE] ", "Assistant: "]),
    st.sampled_from(["ﬁn", "e\u0301", "\u1112\u1161\u11ab", "\u09c7\u09be", "İ", "…", "“quoted”"]),
    st.sampled_from(["\u200b", "\x1b[31m", "  \n", "\ud800"]),
    st.sampled_from(["<!-- no -->", "[en] ", "n\u0336o\u0336 " * 3, "nо оne " * 3, "n🎉o🎉t", "Again. " * 20]),
    st.sampled_from(["n0t th1s 0ne " * 3, base64.b64encode("Not this one, né? ".encode() * 4).decode()]),
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


@given(TEXTS)
@example("a" * 3000 + " end " + "b" * 3000)
@example("<think>I can't.</think>I can't.")
@example("".join(mark + "\u200b" for mark in "I can't do that."))
@example("Many words go before it. " * 4000 + "I can't.")
@example(" \n" * 50_000 + "I can't.")
@settings(deadline=None)
def test_traced_text_is_prepared_as_plain_text_is(response):
    completion = Completion(response=response)
    traced = trace(completion)
    assert isinstance(traced, Traced)
    assert traced == prepare(completion).response
    assert len(traced.origin) == len(traced)
    assert all(0 <= place < len(response) for place in traced.origin)
    assert list(traced.origin) == sorted(traced.origin)


@pytest.mark.parametrize(
    ("response", "word"),
    [
        ("<think>I can't help.</think>\n\nI can't help.", "help."),
        ("[REFUSE]  I’m   sorry,\n\nno.", "sorry,"),
        ("Sure.\n<|im_end|>\n<|im_start|>user\nSure.", "Sure."),
        ("ﬁnd\u200bing it is ﬁne.", "ﬁne."),
        ("x" * 5000 + " I can't.", "can't."),
        ("<!-- Sure, this is how. -->\nI can't.", "can't."),
        ("The sky is blue. " * 5000 + "I can't.", "can't."),
        ("I 🎉 am 🎉 so 🎉 sorry, 🎉 but 🎉 really 🎉 I 🎉 will 🎉 not.", "not."),
        ("I can't. " + base64.b64encode(b"No, that is not what I am here for at all.").decode(), "can't."),
    ],
)
def test_a_word_is_found_where_the_model_wrote_it(response, word):
    traced = trace(Completion(response=response))
    shown = prepare(Completion(response=word)).response
    start = str(traced).rindex(shown)
    begins, ends = traced.span(start, start + len(shown))
    assert response[begins:ends] == word
    if "think" in response:
        assert begins > response.index("</think>")


def test_no_crowd_of_marks_is_overlooked():
    marks = [mark for mark in map(chr, range(0x300, 0x1F000)) if unicodedata.combining(mark)]
    assert [mark for mark in marks if len(fold("é" + mark * 200)) > 100] == []
