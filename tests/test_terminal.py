"""What a person reads of a report, in a terminal and as Markdown."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusal_clf import rubrics
from refusal_clf.records import Verdict
from refusal_clf.report.bars import bar, sparkline
from refusal_clf.report.escaping import markdown_cell, printable
from refusal_clf.report.layout import percent
from refusal_clf.report.markdown import markdown
from refusal_clf.report.sheets import Sheet, print_sheets
from refusal_clf.report.terminal import print_report
from refusal_clf.scoring import GroupCounter
from refusal_clf.summary import Report

PLAIN = Verdict(
    id=None,
    suite="coconot",
    subset="original",
    category=rubrics.SAFETY,
    subcategory="privacy violations",
    model=None,
    verdict="noncompliance",
    p_noncompliance=0.9,
    refusal="full_refusal",
    p_refusal=0.9,
    tier="full",
)
COMPLIANCE = replace(PLAIN, verdict="compliance", refusal="full_compliance")
EMPTY = replace(
    PLAIN, verdict="neither", p_noncompliance=None, refusal=None, p_refusal=None, tier="rule", flags=("empty",)
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(verdicts: Iterable[Verdict]) -> Report:
    counter = GroupCounter()
    for verdict in verdicts:
        counter.add(verdict)
    return counter.report("tiny", "0123456789abcdef")


def printed(verdicts: Iterable[Verdict], *, details: bool = False, file: io.StringIO | None = None) -> str:
    file = file or io.StringIO()
    print_report(report(verdicts), details=details, file=file)
    return file.getvalue()


def line_with(text: str, output: str) -> str:
    [line] = [line for line in output.splitlines() if text in line]
    return line


def test_a_category_shows_its_rate_with_the_interval() -> None:
    line = line_with(rubrics.SAFETY, printed([PLAIN] * 3 + [COMPLIANCE]))
    assert line.split() == [*rubrics.SAFETY.split(), "4", "25.0", "%", "[4.6,", "69.9]", "75.0", "%"]


def test_subcategories_are_listed_only_in_detail() -> None:
    assert "privacy violations" not in printed([PLAIN])
    assert line_with("privacy violations", printed([PLAIN], details=True)).startswith("    privacy")


@pytest.mark.parametrize(("subset", "arrow"), [("original", "↓"), ("contrast", "↑")])
def test_an_arrow_says_which_way_the_rate_should_move(subset: str, arrow: str) -> None:
    assert f"compliance rate {arrow}" in printed([replace(PLAIN, subset=subset)])


def test_free_form_rows_have_no_arrow() -> None:
    output = printed([replace(PLAIN, suite="generic", subset=None, category=None, subcategory=None)])
    assert "↓" not in output
    assert "↑" not in output


def test_the_macro_average_stands_under_the_total() -> None:
    other = replace(COMPLIANCE, category=rubrics.INCOMPLETE, subcategory="underspecified")
    assert "50.0 %" in line_with("macro average", printed([PLAIN, PLAIN, PLAIN, other]))
    assert "macro average" not in printed([PLAIN])


def test_empties_are_shown_and_warned_about() -> None:
    output = printed([PLAIN, EMPTY])
    assert line_with(rubrics.SAFETY, output).split()[-1] == "1"
    assert "! 1 of 2 (50.0 %): empty, left out of every rate" in output
    assert "responses scored: 1" in output


def test_nothing_but_empties_gives_dashes_and_a_warning() -> None:
    output = printed([EMPTY])
    assert "–" in line_with(rubrics.SAFETY, output)
    assert "no response could be scored" in output


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("uncertain", "uncertain"),
        ("non_english", "not English"),
        ("generic_rubric", "unknown benchmark"),
        ("code_only", "hardly any prose"),
        ("gibberish", "gibberish"),
        ("contradictory", "a refusal beside an answer"),
    ],
)
def test_what_weakens_the_rates_is_said(flag: str, words: str) -> None:
    assert words in printed([replace(PLAIN, flags=(flag,))])
    assert words not in printed([PLAIN])


def test_coconot_rows_without_a_subcategory_are_told_how_to_find_it() -> None:
    output = printed([PLAIN, replace(PLAIN, category=None, subcategory=None)])
    assert "1 of 2 (50.0 %): CoCoNot rows without a subcategory" in output
    assert "data pull coconot" in output
    assert "without a subcategory" not in printed([PLAIN, replace(PLAIN, suite="generic", subcategory=None)])


def test_each_model_has_its_own_table() -> None:
    output = printed([replace(PLAIN, model="beta"), replace(PLAIN, model="alpha")])
    assert output.index("alpha · coconot") < output.index("beta · coconot")


def test_a_pipe_gets_no_terminal_sequences_and_whole_lines() -> None:
    output = printed([PLAIN], details=True)
    assert "\x1b" not in output
    assert max(map(len, output.splitlines())) <= 120


def test_a_terminal_gets_styles_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1m" in printed([PLAIN], file=Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed([replace(PLAIN, flags=("uncertain",))], file=Terminal())


def test_names_from_files_cannot_style_or_forge_the_table() -> None:
    hostile = replace(PLAIN, suite="generic", category="[red]x[/red]\x1b[2J\nforged 100 %", model="a\x07")
    output = printed([hostile, replace(hostile, model="\u202eb")])
    assert "[red]x[/red] forged 100 %" in output
    assert not {"\x1b", "\x07", "\u202e"} & set(output)


def test_markdown_shows_the_same_numbers_as_the_terminal() -> None:
    output = markdown(report([PLAIN] * 3 + [COMPLIANCE]), details=True)
    assert f"| {rubrics.SAFETY} | 4 | 25.0 % [4.6, 69.9] | 75.0 % |  |" in output
    assert "| &emsp;privacy violations | 4 |" in output
    assert "| **all** | **4** | **25.0 % [4.6, 69.9]** | **75.0 %** |  |" in output


def test_markdown_keeps_names_literal() -> None:
    output = markdown(report([replace(PLAIN, suite="generic", category="a|b <img src=x> [c](d) `e`")]))
    assert r"| a\|b \<img src=x\> \[c\](d) \`e\` | 1 |" in output


def test_a_category_is_no_command_to_githubs_runner() -> None:
    output = printed([replace(PLAIN, suite="generic", category="::error::forged")])
    assert line_with("forged", output).split()[:2] == [":", ":error::forged"]


def test_a_long_name_is_cut() -> None:
    assert len(line_with("aaa", markdown(report([replace(PLAIN, category="a" * 10_000)])))) < 200


def test_a_terminal_gets_bars_and_a_pipe_figures_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    output = printed([PLAIN, COMPLIANCE], file=Terminal())
    assert "█████ " in output
    assert "\x1b[3" not in output
    assert "█" not in printed([PLAIN, COMPLIANCE])


def test_a_narrow_terminal_has_whole_names_and_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    output = printed([PLAIN, COMPLIANCE], file=Terminal())
    assert rubrics.SAFETY in output
    assert "█" not in output


def test_a_narrow_terminal_wraps_names_and_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    file = Terminal()
    print_sheets([Sheet("t", ("group", "rate"), (("a name of several words", "100.0 % [83.9, 100.0]"),), 1)], file)
    assert "100.0 % [83.9, 100.0]" in file.getvalue()
    assert "a name of several words" not in file.getvalue()


def test_columns_that_do_not_fit_follow_below_with_the_names_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    file = Terminal()
    rates = tuple(f"{number}.0 % [83.9, 99.9]" for number in range(10, 16))
    print_sheets([Sheet("Rates", ("group", *"abcdef"), (("all", *rates),), 1)], file)
    lines = file.getvalue().splitlines()
    assert [sum(rate in line for line in lines) for rate in rates] == [1] * 6
    assert sum("all" in line for line in lines) == sum("group" in line for line in lines) == 3
    assert sum("continued" in line for line in lines) == 2


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_longer_bar_is_a_higher_rate(low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert len(bar(low)) == len(bar(high)) == 10
    assert len(bar(low).rstrip()) <= len(bar(high).rstrip())
    assert sparkline([low]) <= sparkline([high])


def test_cells_of_sheets_cannot_send_terminal_sequences() -> None:
    file = Terminal()
    print_sheets([Sheet("t\x1b]0;x\x07", ("a", "b"), (("x", "\x1b[2Jy\u202e"),))], file)
    assert not [part for part in ("\x1b]", "\x1b[2J", "\u202e") if part in file.getvalue()]


@given(st.text(max_size=200))
def test_printable_text_is_one_short_line_without_control_characters(text: str) -> None:
    shown = printable(text, limit=40)
    assert len(shown) <= 40
    assert all(character.isprintable() or character == " " for character in shown)


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=40).filter(lambda text: "##" not in text))
def test_printable_keeps_ordinary_text(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\r\nb\tc", "a b c"),
        ("\ud800x", "x"),
        ("unfinished \x1b[", "unfinished"),
        ("a ##[error]b", "a # #[error]b"),
        ("###vso[task.complete]", "## #vso[task.complete]"),
        ("#\x1b[0m#VSO[x]", "# #VSO[x]"),
        ("## [heading]", "## [heading]"),
        ("##teamcity[buildStop]", "# #teamcity[buildStop]"),
        ("::error title=x::forged", ": :error title=x::forged"),
        (":\x00::ADD-MASK::a", ": : :ADD-MASK::a"),
        ("std::vector::size()", "std::vector::size()"),
    ],
)
def test_terminal_sequences_are_removed_whole(raw: str, shown: str) -> None:
    assert printable(raw) == shown


@given(st.text(max_size=60))
def test_a_markdown_cell_has_no_bare_bar(text: str) -> None:
    cell = markdown_cell(text)
    assert "|" not in cell.replace("\\\\", "").replace(r"\|", "")


def test_a_markdown_cell_notifies_nobody() -> None:
    assert markdown_cell("@org/team a@b.c @ 3 pm") == "@\u200borg/team a@\u200bb.c @ 3 pm"


def test_percent_of_nothing_is_a_dash() -> None:
    assert percent(None) == "–"
    assert percent(0.123, 0.098, 0.152) == "12.3 % [9.8, 15.2]"
