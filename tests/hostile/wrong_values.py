"""Values that no client should send, by the kind of field; each as JSON text."""

import json
from collections.abc import Iterator, Mapping

from shared.testing.operations import Field

NAIVE_TIMES = ("2026-01-31T09:30:00", "2026-01-31T09:30:00.123456", "2026-01-31 09:30:00", "2026-01-31T09:30")
WRONG_TIMES = (
    *NAIVE_TIMES,
    "2026-02-30T00:00:00Z",
    "2026-01-31T24:00:01Z",
    "2026-01-31T09:30:60Z",
    "2026-01-31T09:30:00+25:00",
    "2026-01-31T09:30:00 Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "-2026-01-31T09:30:00Z",
    "２０２６-01-31T09:30:00Z",
    "2026-W05-6T09:30:00Z",
    "now",
    "infinity",
    "1769851800",
    "",
)
WRONG_IDS = (
    "x",
    "0190a6f27b5e7c1f8a523d0f9c7e4b21",
    "{0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21}",
    "urn:uuid:0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21",
    "0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b2g",
    "0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b2１",
    " 0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21",
    "0" * 10_000,
)
WRONG_EMAILS = (
    "somebody",
    "some body@example.org",
    "a@@example.org",
    "@example.org",
    "a@",
    "a@example",
    "a@-example.org",
    "a@example..org",
    ".a@example.org",
    "a.@example.org",
    "a..b@example.org",
    "a＠example.org",  # a full-width @
    "аdmin@example.org",  # the first letter is Cyrillic
    "admin@exаmple.org",
    "\u202egro.elpmaxe@nimda",  # reads from right to left
    "ad\u200bmin@example.org",  # a space of no width
    "admin@example.org\r\nBcc: victim@example.org",
    "admin@example.org\n",
    "admin@exam\u0301ple.org",
    "ﬀ@example.org",
    "İ@example.org",
    "a@example.org,b@example.org",
    "<a@example.org>",
    '"a b"@example.org',
    "a@[127.0.0.1]",
    "a" * 65 + "@example.org",
    "a@" + "b" * 300 + ".org",
    "a@" + "b." * 5_000 + "org",
    "😀@example.org",
)
WRONG_AMOUNTS = (
    "", " 1", "1 ", "1e5", "1_000", "NaN", "-NaN", "sNaN", "Infinity", "-Infinity", "inf", "0x10", "+1", ".5", "5.",
    "-", "--1", "1,5", "1.5.5", "٣", "１", "½", "1" * 21, "0." + "1" * 19, "1" * 100_000, "1e999999", "true",
)  # fmt: skip
WRONG_INTEGERS = ('"5"', "5.0", "5.5", "true", "false", '""', "[]", "{}", "1e2", "9" * 59)
TOO_LARGE_INTEGERS = (str(2**31), str(2**63 - 1), str(2**63), str(-(2**63) - 1), str(2**64), str(10**50))
LONG = json.dumps("x" * 100_000)
# Invisible characters, and ones that control terminals or reverse a text.
UNSEEN = (
    "\u200b",
    "a\u200bb",
    "\ufeffa",
    "a\u00ad",
    "a\u2028b",
    "up\n\x1b[31mred",
    "a\u202eb",
    "a\u2066b",
    "\u200ea",
    "\u3164",
)
NO_TEXT = ("5", "1.5", "true", "[]", "{}", '["x"]')

WRONG: Mapping[str, tuple[str, ...]] = {
    "string": (*NO_TEXT, LONG, *map(json.dumps, UNSEEN)),
    "mail of a log-in": (*NO_TEXT, LONG),  # a login with an address that cannot be registered is answered 401
    "password": (*NO_TEXT, LONG),
    "email": (*NO_TEXT, LONG, *map(json.dumps, WRONG_EMAILS)),
    "choice": (*NO_TEXT, LONG, '"nope"', '""'),
    "uuid": (*NO_TEXT, *map(json.dumps, WRONG_IDS)),
    "date-time": (*NO_TEXT, *map(json.dumps, WRONG_TIMES)),
    "amount": (*NO_TEXT, "0", "-1", *map(json.dumps, WRONG_AMOUNTS)),
    "integer": WRONG_INTEGERS,
    "boolean": ('"yes"', '"true"', '"on"', '"1"', "1", "0", "1.0", '""', "[]", "{}"),
    "object": ("5", '"x"', "true", "[]", '[["a", 1]]'),
    "array": ("5", '"x"', "true", "{}"),
}


def wrong_values(field: Field) -> Iterator[str]:
    yield from WRONG["mail of a log-in" if (field.kind, field.name) == ("string", "email") else field.kind]
    if not field.nullable and field.required:
        yield "null"
    if field.kind == "integer" and "maximum" in field.schema:
        yield from TOO_LARGE_INTEGERS
