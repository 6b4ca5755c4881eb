"""On which accounts entries may be made."""

from uuid import UUID

import pytest

from services.trading.custody.operations import accept_risk_notice, require_usable
from services.trading.custody.risk_notice import VERSION
from services.trading.errors import ExchangeAccountNotUsable, LiveTradingOff, RiskNoticeNotAccepted
from shared.chassis.clock import utc_now
from shared.chassis.errors import NotFound
from tests.as_tenant import as_tenant
from tests.integration.trading.conftest import Trading
from tests.integration.trading.custody.conftest import KEY, Desk, open_desk


async def usable(trading: Trading, account_id: UUID, user_id: int = 1, *, allows_live: bool = True) -> str:
    row = await as_tenant(trading.database, require_usable, user_id, account_id, allows_live=allows_live)
    return str(row.status)


async def test_an_account_is_usable_until_a_check_refuses_it(desk: Desk) -> None:
    ann, path = await desk.added()
    account_id = UUID(path.rpartition("/")[2])
    assert await usable(desk.trading, account_id, allows_live=False) == "READY"
    with pytest.raises(NotFound):
        await usable(desk.trading, account_id, 2)
    desk.accounts.change(KEY, is_delta_neutral=True)
    await ann.must("POST", f"{path}/check")
    with pytest.raises(ExchangeAccountNotUsable) as refused:
        await usable(desk.trading, account_id)
    assert refused.value.extra["refusals"]


async def test_a_live_account_needs_the_operator_and_the_risk_notice(trading: Trading) -> None:
    async with open_desk(trading, tradefleet_live="on") as desk:
        _, path = await desk.added(environment="LIVE")
    account_id = UUID(path.rpartition("/")[2])
    with pytest.raises(RiskNoticeNotAccepted):
        await usable(trading, account_id)
    await as_tenant(trading.database, accept_risk_notice, 1, VERSION, utc_now())
    assert await usable(trading, account_id) == "READY"
    with pytest.raises(LiveTradingOff):
        await usable(trading, account_id, allows_live=False)


async def test_an_earlier_notice_is_not_the_current_one(trading: Trading) -> None:
    async with open_desk(trading, tradefleet_live="on") as desk:
        _, path = await desk.added(environment="LIVE")
    await trading.owner.execute("INSERT INTO risk_notice_acceptances VALUES (1, $1, now())", VERSION - 1)
    with pytest.raises(RiskNoticeNotAccepted):
        await usable(trading, UUID(path.rpartition("/")[2]))
