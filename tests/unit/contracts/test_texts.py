"""Names and texts typed by users."""

import unicodedata

import pytest

from shared.contracts.texts import BLANKS, NAME_LENGTH, check_name, check_text, check_texts_within

UNSEEN = [
    "\u200b", "\ufeff", "\u00ad", "\u2060", "\u200d", "\u180e", "\u2028", "\u2029", "\x00", "\x1b", "\x7f", "\x85",
    "\u202a", "\u202e", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "\U000e0041", "\ue000", "\ud800",
    "\u0378", "\u3164", "\u2800", "\u034f", "\U000e0100", "\ufff9",
]  # fmt: skip


@pytest.mark.parametrize("character", UNSEEN, ids=lambda character: f"U+{ord(character):04X}")
def test_an_invisible_character_is_refused_anywhere(character: str) -> None:
    for text in (character, f"{character}a", f"a{character}", f"a{character}b", f" {character} "):
        with pytest.raises(ValueError, match=f"U\\+{ord(character):04X}"):
            check_name(text)
        with pytest.raises(ValueError, match=f"U\\+{ord(character):04X}"):
            check_text(text)
        with pytest.raises(ValueError, match=f"U\\+{ord(character):04X}"):
            check_texts_within({"a": [{text: 1}]})


def test_every_control_character_is_refused_also_at_the_ends_of_a_name() -> None:
    for code in (*range(0x20), *range(0x7F, 0xA0)):
        for text in (f"{chr(code)}a", f"a{chr(code)}"):
            with pytest.raises(ValueError, match="control"):
                check_name(text)


def test_blanks_are_all_space_separators_of_unicode() -> None:
    assert set(BLANKS) == {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Zs"}


@pytest.mark.parametrize("text", ["", " ", "\u00a0", "\u3000 ", BLANKS])
def test_a_blank_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="blank"):
        check_name(text)


@pytest.mark.parametrize("text", ["\u0301", "\u0301\u0301", "\ufe0f"])
def test_a_name_of_marks_alone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check_name(text)


@pytest.mark.parametrize("letter", ["a", "Ж", "漢", "🚀", "ع", "é"])
def test_a_name_has_up_to_a_hundred_characters_of_any_script(letter: str) -> None:
    assert check_name(letter * NAME_LENGTH) == letter * NAME_LENGTH
    assert check_name(f"  {letter * NAME_LENGTH}\u00a0") == letter * NAME_LENGTH
    with pytest.raises(ValueError, match="at most 100"):
        check_name(letter * (NAME_LENGTH + 1))


@pytest.mark.parametrize("text", ["I ❤️ BTC", "Пробой №1", "高値 更新", "trend-long (v2) = + 5 %", "naïve"])
def test_ordinary_names_are_accepted_unchanged(text: str) -> None:
    assert check_name(text) == text


def test_a_text_can_have_several_lines_and_is_trimmed_at_its_ends() -> None:
    assert check_text(" \n first\r\n\n second \n ") == "first\n\n second"
    assert check_text("") == check_text(" \n ") == ""
    assert check_text("x" * 2_000) == "x" * 2_000
    with pytest.raises(ValueError, match=r"at most 2000"):
        check_text("x" * 2_001)
