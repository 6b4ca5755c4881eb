"""Names and texts that people type: trimmed, bounded, and only of characters that can be seen.

Invisible characters make two names look alike, control characters drive the terminal that prints them, and bidi
controls show a text in another order than it has. One rule for every such field, whichever way it comes in.
"""

import unicodedata
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

NAME_LENGTH = 100
TEXT_LENGTH = 2_000

# Space separators (Zs). Line breaks and other controls at the ends are faults, not blanks.
BLANKS = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
# Controls, format characters (zero width, soft hyphen, bidi), separators of lines and paragraphs, surrogates,
# private use and code points without a character.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
# Letters, marks and symbols drawn as nothing: fillers of Hangul, Khmer, Mongolian, the empty cell of Braille.
_FILLERS = (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)
_DRAWN_AS_NOTHING = frozenset([*_FILLERS, *range(0x180B, 0x1810), *range(0xE0100, 0xE01F0)])
_VARIATIONS = range(0xFE00, 0xFE10)  # how the character before is drawn, as a text or as an emoji


def is_drawn(character: str) -> bool:
    """Whether a reader can see it by itself: no blank, mark, control, or filler."""
    code = ord(character)
    if code in _DRAWN_AS_NOTHING or code in _VARIATIONS:
        return False
    return unicodedata.category(character)[0] not in "ZCM"


def check_name(text: str, most: int = NAME_LENGTH) -> str:
    """One line, trimmed, 1 to `most` characters. Raises ValueError."""
    name = text.strip(BLANKS)
    if not name:
        raise ValueError("must not be blank")
    if len(name) > most:
        raise ValueError(f"must have at most {most} characters")
    _check_characters(name)
    if not any(unicodedata.category(character)[0] in "LNPS" for character in name):
        raise ValueError("must have a character that can be seen")
    return name


def check_text(text: str, most: int = TEXT_LENGTH) -> str:
    """Lines, trimmed as a whole, up to `most` characters; may be empty. Raises ValueError."""
    lines = text.replace("\r\n", "\n").strip(BLANKS + "\n")
    if len(lines) > most:
        raise ValueError(f"must have at most {most} characters")
    for line in lines.split("\n"):
        _check_characters(line)
    return lines


def check_texts_within(value: object) -> None:
    """Every key and text of a JSON value that a client fills as they like. Raises ValueError."""
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


def _name_of_at_most(most: int) -> Callable[[str], str]:
    return lambda text: check_name(text, most)


Name = Annotated[
    str, AfterValidator(check_name), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": NAME_LENGTH})
]
"""What a person calls a thing, or themselves."""

ShortName = Annotated[
    str, AfterValidator(_name_of_at_most(50)), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 50})
]

Text = Annotated[str, AfterValidator(check_text), WithJsonSchema({"type": "string", "maxLength": TEXT_LENGTH})]
"""Notes and descriptions: may have several lines."""
