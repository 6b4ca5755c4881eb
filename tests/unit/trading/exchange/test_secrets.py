"""No log, error or representation shows an account's secret."""

import logging
import traceback

import pytest
from structlog.testing import capture_logs

from services.trading.exchange.account_api import AccountApi, connection_pool
from services.trading.exchange.account_facts import Credentials
from services.trading.exchange.signing_clock import SigningClock
from services.trading.exchange.venue import OutcomeUnknown
from tests.unit.trading.exchange.server import KEY, SECRET, coded, raw, scripted
from tests.unit.trading.exchange.test_bybit_venue import CREATE, ENTRY


async def test_nothing_shows_the_secret_or_a_signature(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = ""
    with capture_logs() as logs:
        async with scripted() as (script, _, venue):
            answers = iter([raw(b"<html>", 502), coded(10016), raw(b"{")])
            script.answers[CREATE] = lambda *_: next(answers)
            for _ in range(3):
                with pytest.raises(OutcomeUnknown) as raised:
                    await venue.create_order(ENTRY)
                shown += "".join(traceback.format_exception(raised.value)) + repr(raised.value)
            shown += repr(venue) + repr(venue._calls) + repr(venue._calls._api)
            signatures = script.timestamps
    shown += caplog.text + str(logs)
    assert "/v5/order/create" in caplog.text  # something was logged
    assert SECRET not in shown
    assert KEY not in shown
    assert len(signatures) == 3


def test_pybits_own_representation_would_show_it() -> None:
    api = AccountApi(Credentials(KEY, SECRET), "http://127.0.0.1:9", SigningClock(), connection_pool(1))
    assert SECRET in super(AccountApi, api).__repr__()
    assert repr(api) == "AccountApi(http://127.0.0.1:9)"


def test_many_accounts_add_no_log_handlers_and_no_connections() -> None:
    pool = connection_pool(1)
    for _ in range(3):
        api = AccountApi(Credentials(KEY, SECRET), "http://127.0.0.1:9", SigningClock(), pool)
        assert (api.logger.handlers, set(api.client.adapters.values())) == ([], {pool})
