"""Every text exists in both languages; numbers and times are formatted for the reader's language."""

from datetime import UTC, datetime
from decimal import Decimal
from string import Formatter

import pytest

from services.notifications.domain.kinds import KINDS
from services.notifications.domain.wording import Count, Value, Word
from services.notifications.templates import LANGUAGES, writer_for

NIGHT = datetime(2026, 7, 31, 23, 5, tzinfo=UTC)
ALERT: dict[str, Value] = {
    "alert_name": "{symbol} is {no} template",
    "symbol": "BTCUSDT",
    "price": Decimal("64000.50"),
    "time": NIGHT,
}


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_the_languages_are_english_and_italian() -> None:
    assert set(LANGUAGES) == {"en", "it"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_texts_with_the_same_fields_in_every_language(kind: str) -> None:
    texts = [fields(language.texts[kind]) for language in LANGUAGES.values()]  # type: ignore[index]  # one of KINDS
    assert texts[0]
    assert all(each == texts[0] for each in texts)
    for language in LANGUAGES.values():
        for digest in language.digests[kind]:  # type: ignore[index]  # one of KINDS
            assert fields(digest) == {"number", "minute", "counts"}


def test_every_language_has_words_nouns_and_months() -> None:
    english = LANGUAGES["en"]
    for language in LANGUAGES.values():
        assert language.words.keys() == english.words.keys()
        assert language.nouns.keys() == english.nouns.keys()
        assert len(set(language.months)) == 12
        assert set(language.texts) == set(language.digests) == set(KINDS)


def test_a_message_is_written_in_its_readers_language_and_zone() -> None:
    english = writer_for("en", "America/New_York").message("ALERT_TRIGGERED", ALERT)
    assert english == "{symbol} is {no} template: BTCUSDT at 64,000.5, 31 Jul 2026, 19:05 EDT"
    italian = writer_for("it", "Europe/Rome").message("ALERT_TRIGGERED", ALERT)
    assert italian == "{symbol} is {no} template: BTCUSDT a 64.000,5, 1 ago 2026, 01:05 CEST"


@pytest.mark.parametrize(
    ("language", "zone"), [(None, None), ("de", "Nowhere/Land"), ("", "../etc/passwd"), ("en-GB", "\0")]
)
def test_an_unknown_language_and_zone_become_english_and_utc(language: str | None, zone: str | None) -> None:
    assert (
        writer_for(language, zone).message("ALERT_TRIGGERED", ALERT).endswith("at 64,000.5, 31 Jul 2026, 23:05 UTC")
    )


@pytest.mark.parametrize(
    ("value", "english", "italian"),
    [
        (Decimal("-0.00000001"), "-0.00000001", "-0,00000001"),
        (Decimal("-1234567.10"), "-1,234,567.1", "-1.234.567,1"),
        (Decimal("12345678901234567890.123456789012345678"), "12,345,678,901,234,567,890.123456789012345678", None),
        (Decimal("1E+3"), "1,000", "1.000"),
        (10_000, "10,000", "10.000"),
        (Count(1, "trade"), "1 trade", "1 operazione"),
        (Count(2000, "trade"), "2,000 trades", "2.000 operazioni"),
        (Word("manual"), "by hand", "a mano"),
        (Word("something new"), "something new", "something new"),
    ],
)
def test_values_are_shown_with_every_digit(value: Value, english: str, italian: str | None) -> None:
    assert writer_for("en", "UTC").value(value) == english
    if italian is not None:
        assert writer_for("it", "UTC").value(value) == italian


def test_a_digest_names_the_most_frequent_symbols() -> None:
    counts = {"AUSDT": 1, "BUSDT": 7, "CUSDT": 1200, "DUSDT": 2, "EUSDT": 3, "FUSDT": 1}
    english = writer_for("en", "UTC").digest("ALERT_TRIGGERED", NIGHT, counts)
    assert english == (
        "1,214 more alerts in the minute of 31 Jul 2026, 23:05 UTC: "
        "CUSDT 1,200, BUSDT 7, EUSDT 3, DUSDT 2, AUSDT 1, and others"
    )
    italian = writer_for("it", "Europe/Rome").digest("TRADE_CLOSED", NIGHT, {"BUSDT": 1})
    assert italian == "1 altra operazione chiusa nel minuto del 1 ago 2026, 01:05 CEST: BUSDT 1"
