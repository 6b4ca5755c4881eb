"""`/v1/exchange-accounts/{id}/risk`: limits of an exchange account over all its sessions."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.trading.operations.account_risk import get_risk, resume, set_risk
from services.trading.queries.account_risk import RiskRow
from services.trading.queries.reconciliations import find_reconciled
from services.trading.risk import RiskSettings
from services.trading.venue_clock import VenueClock
from shared.chassis.http.app import Call, Reply, tagged
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Connection, Database
from shared.contracts.amounts import Positive
from shared.contracts.examples import NOW, example
from shared.contracts.types import Amount, BodyModel, Instant, ViewModel

PATH = "/v1/exchange-accounts/{id}/risk"
RISK: dict[str, str | int | None] = {
    "max_daily_loss": "250",
    "drawdown_pause_percentage": "10",
    "max_open_notional": "20000",
    "max_positions": 3,
    "max_orders_per_minute": 30,
}

Count = Annotated[int, Field(ge=1, le=10_000)]


class RiskBody(BodyModel):
    """Null or absent: unlimited; see `RiskView`."""

    model_config = example(**RISK)

    max_daily_loss: Positive | None = None
    drawdown_pause_percentage: Positive | None = None
    max_open_notional: Positive | None = None
    max_positions: Count | None = None
    max_orders_per_minute: Count | None = None

    def settings(self) -> RiskSettings:
        return RiskSettings(**self.model_dump())


class RiskView(ViewModel):
    """Null: unlimited. Amounts are in the settle coin. `max_daily_loss`: of the trades that end on one UTC day,
    with their funding. `drawdown_pause_percentage`: of the wallet's equity, from its highest."""

    model_config = example(**RISK)

    max_daily_loss: Amount | None
    drawdown_pause_percentage: Amount | None
    max_open_notional: Amount | None
    max_positions: int | None
    max_orders_per_minute: int | None


class BreachView(ViewModel):
    """The limit that was reached or would have been exceeded, its value, and the figure that did it."""

    model_config = example(limit_name="max_daily_loss", allowed="250", asked="261.4", breached_at=NOW)

    limit_name: str
    allowed: Amount
    asked: Amount
    breached_at: Instant


class RiskStateView(ViewModel):
    """`breach`: no session of the account enters until you resume; null: the limits hold. `equity` is that of the
    wallet as last read, `highest_equity` its highest since you resumed last.

    `reconciled_at`: when the account was last compared with what the platform knows of it. Null: not since the
    platform's database was started or restored, or the exchange has something that is not known; no entry is sent
    until then."""

    model_config = example(
        equity="10321.5", highest_equity="10400", breach=None, resumed_at=None, reconciled_at=NOW
    )

    exchange_account_id: UUID
    equity: Amount | None
    highest_equity: Amount | None
    breach: BreachView | None
    resumed_at: Instant | None
    reconciled_at: Instant | None


class AccountRiskRoutes(Routes):
    def __init__(self, database: Database, clock: VenueClock) -> None:
        self._database = database
        self._clock = clock

    @endpoint("GET", PATH, "Get the risk limits of an exchange account", tagged=True)
    async def get_account_risk(self, call: Call) -> Reply[RiskView]:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            return _tagged(await get_risk(connection, user_id, call.uuid()))

    @endpoint("PUT", PATH, "Replace the risk limits of an exchange account", tagged=True, scope="trade")
    async def set_account_risk(self, call: Call, body: RiskBody) -> Reply[RiskView]:
        async with call.transaction() as connection:
            row = await set_risk(connection, call.principal.user_id, call.uuid(), body.settings(), call.if_match)
            return _tagged(row)

    @endpoint("GET", PATH + "/state", "Get the equity and the breach of an exchange account")
    async def get_risk_state(self, call: Call) -> RiskStateView:
        user_id, account_id = call.principal.user_id, call.uuid()
        async with self._database.tenant(user_id) as connection:
            return await _state(connection, user_id, account_id, await get_risk(connection, user_id, account_id))

    @endpoint("POST", PATH + "/resume", "Allow entries again after a breach", scope="trade")
    async def resume_account(self, call: Call) -> RiskStateView:
        account_id, now = call.uuid(), self._clock.last_seen or call.now
        async with call.transaction() as connection:
            row = await resume(connection, call.principal.user_id, account_id, now)
            return await _state(connection, call.principal.user_id, account_id, row)


async def _state(connection: Connection, user_id: int, account_id: UUID, row: RiskRow) -> RiskStateView:
    breach = None
    if row.breached_at is not None:
        breach = BreachView.model_validate(
            {
                "limit_name": row.breached_limit,
                "allowed": row.breached_allowed,
                "asked": row.breached_value,
                "breached_at": row.breached_at,
            }
        )
    return RiskStateView(
        exchange_account_id=account_id,
        equity=row.equity,
        highest_equity=row.highest_equity,
        breach=breach,
        resumed_at=row.resumed_at,
        reconciled_at=await find_reconciled(connection, user_id, account_id),
    )


def _tagged(row: RiskRow) -> Reply[RiskView]:
    return tagged(RiskView.model_validate(row), row.revision)
