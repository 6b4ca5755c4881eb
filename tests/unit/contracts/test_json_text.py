"""`read_json` refuses ambiguous and unstorable JSON, with the path of each fault."""

from decimal import Decimal

import pytest

from shared.contracts.json_text import InvalidDocument, read_json


def test_numbers_are_exact_and_a_byte_order_mark_is_skipped() -> None:
    assert read_json(b'\xef\xbb\xbf{"a": [1.10, 2, 1e-40]}') == {"a": [Decimal("1.10"), 2, Decimal("1e-40")]}
    assert read_json("[" * 100 + "]" * 100)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"\xff\xff", "$: is not UTF-8 text"),
        ("", "$: is not JSON: Expecting value at line 1 column 1"),
        ("[" * 101 + "]" * 101, "$: is nested too deep"),
        ("[" * 100_000, "$: is nested too deep"),
        ('{"a": {"b": 1, "b": 2}}', "$.a.b: is a repeated key"),
        ('[0, "\\u0000"]', "$[1]: must be text without NUL characters and lone surrogates"),
        ('{"a": {"\\ud800": 1}}', "$.a: must have keys without NUL characters and lone surrogates"),
        ('{"a": 1e41}', "$.a: is not a finite number that can be kept exactly"),
        ("-Infinity", "$: is not a finite number that can be kept exactly"),
        ("9" * 61, "$: is not a finite number that can be kept exactly"),
    ],
)
def test_ambiguous_and_unstorable_json_is_refused(text: str | bytes, fault: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_json(text)
    assert str(caught.value) == fault


def test_all_faults_are_reported_in_document_order() -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_json('{"a": [NaN], "b": "\\u0000", "b": NaN}')
    assert [fault.path for fault in caught.value.faults] == ["$.b", "$.a[0]", "$.b"]
