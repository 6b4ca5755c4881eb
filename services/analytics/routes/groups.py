"""`/by-symbol` and `/by-strategy`. Groups are few, so they are sorted and paged in memory."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Literal, TypeVar

from services.analytics.domain.summary import Sums
from services.analytics.queries import facts, groups
from services.analytics.queries.groups import StrategySums, SymbolSums
from services.analytics.routes.period import ListPeriodQuery, period_of
from services.analytics.routes.views import ByStrategyView, BySymbolView, sums_fields
from shared.chassis.http.app import Call
from shared.chassis.http.paging import Page, encode_sorted, page_of
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.listing import Order
from shared.chassis.postgres import Database
from shared.contracts.texts import NAME_LENGTH
from shared.contracts.time_zones import zone_or_default
from shared.contracts.types import ViewModel

T = TypeVar("T")
V = TypeVar("V", bound=ViewModel)
Key = tuple[Decimal | str, str]  # sort value, and symbol or strategy id as tie-breaker

SymbolSort = Literal["symbol", "-symbol", "pnl", "-pnl", "total_trades", "-total_trades"]
StrategySort = Literal["strategy_name", "-strategy_name", "pnl", "-pnl", "total_trades", "-total_trades"]


BY_SUMS = {"pnl": Order(pnl=Decimal, tie=str), "total_trades": Order(total_trades=Decimal, tie=str)}
BY_SYMBOL = {**BY_SUMS, "symbol": Order(symbol=str, tie=str)}
BY_STRATEGY = {**BY_SUMS, "strategy_name": Order(strategy_name=str, tie=str)}


class BySymbolQuery(ListPeriodQuery):
    orders = BY_SYMBOL

    sort: SymbolSort = "symbol"


class ByStrategyQuery(ListPeriodQuery):
    orders = BY_STRATEGY

    sort: StrategySort = "strategy_name"


class GroupRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint("GET", "/v1/performance/by-symbol", "Get your trading results by symbol")
    async def list_performance_by_symbol(self, call: Call, query: BySymbolQuery) -> Page[BySymbolView]:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            zone = zone_or_default(await facts.get_zone(connection, user_id))
            spans = period_of(query.from_, query.to, zone).spans
            found = await groups.list_by_symbol(connection, user_id, query.mode, spans)

        def key_of(one: SymbolSums) -> Key:
            return _key(query.sort, one.sums, one.symbol, one.symbol)

        return _page(found, query, key_of, _symbol_view)

    @endpoint("GET", "/v1/performance/by-strategy", "Get your trading results by strategy")
    async def list_performance_by_strategy(self, call: Call, query: ByStrategyQuery) -> Page[ByStrategyView]:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            zone = zone_or_default(await facts.get_zone(connection, user_id))
            spans = period_of(query.from_, query.to, zone).spans
            found = await groups.list_by_strategy(connection, user_id, query.mode, spans)

        def key_of(one: StrategySums) -> Key:
            return _key(query.sort, one.sums, one.strategy_name, str(one.strategy_id))

        return _page(found, query, key_of, _strategy_view)


def _key(sort: str, sums: Sums, name: str, tie: str) -> Key:
    match sort.removeprefix("-"):
        case "pnl":
            return (sums.pnl, tie)
        case "total_trades":
            return (Decimal(sums.trades), tie)
        case _:
            return (name[:NAME_LENGTH], tie)  # names older than the limit may be longer and would make long cursors


def _page(
    found: Sequence[T], query: ListPeriodQuery, key_of: Callable[[T], Key], view_of: Callable[[T], V]
) -> Page[V]:
    """Return the page after the cursor. Compares keys, so groups changed since the last page cause no error."""
    wanted = query.slice()
    ordered = sorted(found, key=key_of, reverse=wanted.descending)
    if (after := wanted.after) is not None:
        ordered = [one for one in ordered if (key_of(one) < after if wanted.descending else key_of(one) > after)]
    return page_of(
        ordered[: wanted.limit], query.limit, view_of, lambda last: encode_sorted(query.sort, *key_of(last))
    )


def _symbol_view(one: SymbolSums) -> BySymbolView:
    return BySymbolView.model_validate({**sums_fields(one.sums), "symbol": one.symbol})


def _strategy_view(one: StrategySums) -> ByStrategyView:
    named = {"strategy_id": one.strategy_id, "strategy_name": one.strategy_name}
    return ByStrategyView.model_validate({**sums_fields(one.sums), **named})
