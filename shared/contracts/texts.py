"""Names and texts that people enter: trimmed, bounded, and made of visible characters only.

Invisible characters make two names look alike, control characters can control the terminal that prints them, and
bidi controls display a text in another order than it has. One rule for every such field, in every input.
"""

import unicodedata
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

NAME_LENGTH = 100
TEXT_LENGTH = 2_000

# Space separators (Zs). Line breaks and other controls at the ends are refused, not trimmed.
BLANKS = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
# Controls, format characters (zero width, soft hyphen, bidi), line and paragraph separators, surrogates, private
# use and unassigned code points.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
# Letters, marks and symbols without a glyph: fillers of Hangul, Khmer, Mongolian, the empty cell of Braille.
_FILLERS = (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)
_DRAWN_AS_NOTHING = frozenset([*_FILLERS, *range(0x180B, 0x1810), *range(0xE0100, 0xE01F0)])
_VARIATIONS = range(0xFE00, 0xFE10)  # select whether the character before is drawn as text or as an emoji


def is_drawn(character: str) -> bool:
    """Return whether it is visible by itself: no blank, mark, control or filler."""
    code = ord(character)
    if code in _DRAWN_AS_NOTHING or code in _VARIATIONS:
        return False
    return unicodedata.category(character)[0] not in "ZCM"


def check_name(text: str, most: int = NAME_LENGTH) -> str:
    """Return the name trimmed: one line of 1 to `most` characters. Raises ValueError."""
    name = text.strip(BLANKS)
    if not name:
        raise ValueError("must not be blank")
    if len(name) > most:
        raise ValueError(f"must have at most {most} characters")
    _check_characters(name)
    if not any(unicodedata.category(character)[0] in "LNPS" for character in name):
        raise ValueError("must have a visible character")
    return name


def check_text(text: str, most: int = TEXT_LENGTH) -> str:
    """Return the text trimmed as a whole: lines of up to `most` characters in total, or none. Raises ValueError."""
    lines = text.replace("\r\n", "\n").strip(BLANKS + "\n")
    if len(lines) > most:
        raise ValueError(f"must have at most {most} characters")
    for line in lines.split("\n"):
        _check_characters(line)
    return lines


def check_texts_within(value: object) -> None:
    """Check every key and text in a free-form JSON value. Raises ValueError."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend((*each.keys(), *each.values()))
        elif isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, str):
            for line in each.split("\n"):
                _check_characters(line)


def _check_characters(line: str) -> None:
    before = ""
    for character in line:
        if not _can_be_seen(character, before):
            code = f"U+{ord(character):04X}"
            raise ValueError(f"must not contain control, invisible or direction-changing characters ({code})")
        before = character


def _can_be_seen(character: str, before: str) -> bool:
    if ord(character) in _VARIATIONS:
        return bool(before) and before not in BLANKS and ord(before) not in _VARIATIONS
    return unicodedata.category(character) not in _REFUSED_CATEGORIES and ord(character) not in _DRAWN_AS_NOTHING


def _name_checker(most: int) -> Callable[[str], str]:
    return lambda text: check_name(text, most)


Name = Annotated[
    str, AfterValidator(check_name), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": NAME_LENGTH})
]
"""A name that a user gives to something, or to themselves."""

ShortName = Annotated[
    str, AfterValidator(_name_checker(50)), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 50})
]

Text = Annotated[str, AfterValidator(check_text), WithJsonSchema({"type": "string", "maxLength": TEXT_LENGTH})]
"""A note or description: may have several lines."""
