"""Notices have words for every reason that their events can have."""

from uuid import UUID

import pytest

from services.notifications.domain.notices import from_session_alarmed
from services.notifications.templates import LANGUAGES, writer_for
from services.trading.domain import AWAITED, FEED_SILENT
from services.trading.operations.alarms import SESSION_FAILED
from shared.contracts.trading import SessionAlarmed
from shared.contracts.types import from_ms

SINCE = from_ms(1_767_225_600_000)  # 2026-01-01T00:00:00Z
REASONS = {
    "waiting_for_history": "it is waiting: the exchange has provided no candles yet",
    "waiting_for_first_bar": "it is waiting: no candle has closed since its start, although one was due",
    "waiting_for_bar": "it is waiting: the next candle has not arrived",
    "waiting_for_feed": "it is waiting: candles are not being fetched at the moment",
    FEED_SILENT: "no candles are arriving, so it opens nothing until they do",
    SESSION_FAILED: "it cannot continue because of an error on our side, which we are looking into",
}


def message(reason: str, language: str) -> str:
    """Return the text of the notification of an alarm."""
    event = SessionAlarmed(
        user_id=1,
        public_id=UUID(int=1),
        aggregate="session:1",
        aggregate_seq=1,
        session_id=UUID(int=2),
        symbol="BTCUSDT",
        reason=reason,
        since=SINCE,
    )
    notice = from_session_alarmed(event, SINCE)
    return writer_for(language, "UTC").message(notice.kind, notice.values)


@pytest.mark.parametrize(("reason", "words"), REASONS.items())
def test_an_alarm_says_what_is_wrong_with_the_session(reason: str, words: str) -> None:
    assert message(reason, "en") == f"Session on BTCUSDT: {words}, since 1 Jan 2026, 00:00 UTC"


def test_every_reason_to_alarm_has_words_of_its_own_in_every_language() -> None:
    reasons = [*(f"waiting_for_{what}" for what in AWAITED), FEED_SILENT, SESSION_FAILED]
    assert sorted(REASONS) == sorted(reasons)
    for language in LANGUAGES:
        texts = {message(reason, language) for reason in reasons}
        assert len(texts) == len(reasons)
        assert not [text for text in texts if any(reason in text for reason in reasons)]
