"""Notices have words for every reason that their events can have."""

from uuid import UUID

import pytest

from services.notifications.domain.notices import Notice, from_exchange_account_alarmed, from_session_alarmed
from services.notifications.templates import LANGUAGES, writer_for
from services.trading.custody.alarms import REASONS as ACCOUNT_REASONS
from services.trading.domain import AWAITED, FEED_SILENT
from services.trading.operations.alarms import KILL_SWITCH_ON, ORDER_REASONS, SESSION_FAILED
from shared.contracts.trading import ExchangeAccountAlarmed, SessionAlarmed
from shared.contracts.types import from_ms

SINCE = from_ms(1_767_225_600_000)  # 2026-01-01T00:00:00Z
REASONS = {
    "waiting_for_history": "it is waiting: the exchange has provided no candles yet",
    "waiting_for_first_bar": "it is waiting: no candle has closed since its start, although one was due",
    "waiting_for_bar": "it is waiting: the next candle has not arrived",
    "waiting_for_feed": "it is waiting: candles are not being fetched at the moment",
    FEED_SILENT: "no candles are arriving, so it opens nothing until they do",
    "order_refused": "the exchange refused an order",
    "stop_refused": "the exchange refused to set its stop, so its position is being closed",
    "stop_not_moved": "the exchange refused to move its stop, which stays where it was until its next level",
    "leverage_refused": "the exchange refused to set its leverage, so it opens nothing",
    "key_rejected": "the exchange does not accept its key any more, so bots cannot trade on it; replace the key",
    "unprotected": "its position has no stop on the exchange, which is being set again",
    "foreign_change": "a position or an order is not its own, so it opens nothing until you adopt or ignore it",
    "unknown_order": "the exchange has not said yet what became of an order; nothing is sent again meanwhile",
    "entry_stale": "an entry was too late to be sent",
    "fee_in_other_coin": "the exchange charged a fee in another coin, which is not in its results",
    "account_risk": "a risk limit of its exchange account is reached, so it opens nothing until you resume",
    "not_reconciled": "the exchange has something of its account that is not known here, so it opens nothing",
    "taken_over": "the process that ran it stopped answering, and another one has taken it over",
    KILL_SWITCH_ON: "the kill switch is on, so it opens nothing",
    SESSION_FAILED: "it cannot continue because of an error on our side, which we are looking into",
}


def message(reason: str, language: str, *details: str) -> str:
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
        details=details,
    )
    notice = from_session_alarmed(event, SINCE)
    return writer_for(language, "UTC").message(notice.kind, notice.values)


@pytest.mark.parametrize(("reason", "words"), REASONS.items())
def test_an_alarm_says_what_is_wrong_with_the_session(reason: str, words: str) -> None:
    assert message(reason, "en") == f"Session on BTCUSDT: {words}, since 1 Jan 2026, 00:00 UTC"


def test_every_reason_to_alarm_has_words_of_its_own_in_every_language() -> None:
    waits = [f"waiting_for_{what}" for what in AWAITED]
    reasons = [*waits, *ORDER_REASONS, FEED_SILENT, SESSION_FAILED, KILL_SWITCH_ON]
    assert sorted(REASONS) == sorted(reasons)
    for language in LANGUAGES:
        texts = {message(reason, language) for reason in reasons}
        assert len(texts) == len(reasons)
        assert not [text for text in texts if any(reason in text for reason in reasons)]


def test_an_alarm_shows_the_words_of_the_exchange() -> None:
    shown = message("order_refused", "en", "message: ab not enough for new order", "code: 110007")
    words = f"{REASONS['order_refused']} (message: ab not enough for new order, code: 110007)"
    assert shown == f"Session on BTCUSDT: {words}, since 1 Jan 2026, 00:00 UTC"


ACCOUNT_WORDS = {
    "key_rejected": "the exchange does not accept its key any more, so bots cannot trade on it; replace the key",
    "key_expired": "its key has expired, so bots cannot trade on it; replace the key",
    "key_expires_in_30_days": "its key expires within 30 days; replace it before",
    "key_expires_in_7_days": "its key expires within 7 days; replace it before",
    "key_expires_in_1_days": "its key expires within a day; replace it now",
    "permissions_grew": "its key may do more than before",
    "account_refused": "it was changed so that bots open nothing on it",
}


def account_notice(reason: str, *details: str) -> Notice:
    """Return the notice of an alarm of an exchange account."""
    event = ExchangeAccountAlarmed(
        user_id=1,
        public_id=UUID(int=1),
        aggregate="exchange_account:1",
        aggregate_seq=1,
        exchange_account_id=UUID(int=2),
        account_name="bots {0}",
        environment="DEMO",
        reason=reason,
        details=details,
        expires_at=SINCE,
        since=SINCE,
    )
    return from_exchange_account_alarmed(event, SINCE)


def account_message(reason: str, language: str, *details: str) -> str:
    notice = account_notice(reason, *details)
    return writer_for(language, "UTC").message(notice.kind, notice.values)


@pytest.mark.parametrize(("reason", "words"), ACCOUNT_WORDS.items())
def test_an_alarm_says_what_is_wrong_with_the_exchange_account(reason: str, words: str) -> None:
    assert account_message(reason, "en") == f"Exchange account bots {{0}}: {words}, 1 Jan 2026, 00:00 UTC"


def test_an_alarm_names_the_permissions_and_the_fields() -> None:
    message = account_message("permissions_grew", "en", "Wallet.Withdraw", "Earn.Earn")
    assert "than before (Wallet.Withdraw, Earn.Earn), 1 Jan" in message
    assert account_notice("permissions_grew", "Earn.Earn").data["details"] == ["Earn.Earn"]


def test_every_reason_to_alarm_of_an_account_has_words_of_its_own_in_every_language() -> None:
    assert sorted(ACCOUNT_WORDS) == sorted(ACCOUNT_REASONS)
    for language in LANGUAGES:
        texts = {account_message(reason, language) for reason in ACCOUNT_REASONS}
        assert len(texts) == len(ACCOUNT_REASONS)
        assert not [text for text in texts if any(reason in text for reason in ACCOUNT_REASONS)]


def test_only_a_key_that_will_expire_can_wait() -> None:
    severities = {reason: account_notice(reason).severity for reason in ACCOUNT_REASONS}
    assert {reason for reason, severity in severities.items() if severity == "WARNING"} == {
        "key_expires_in_30_days",
        "key_expires_in_7_days",
        "key_expires_in_1_days",
    }
