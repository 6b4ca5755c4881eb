"""Requests that change an account's settings: leverage and position mode."""

from decimal import Decimal

from sandbox.bybit.exchange import margin
from sandbox.bybit.exchange.accounts import Account, Holding
from sandbox.bybit.exchange.amounts import ZERO, is_multiple
from sandbox.bybit.exchange.fields import Fields
from sandbox.bybit.exchange.markets import Market
from sandbox.bybit.exchange.publication import publish_position
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.terms import HEDGE, ONE_WAY


def set_leverage(account: Account, market: Market, fields: Fields) -> None:
    buy, sell = fields.needed_amount("buyLeverage"), fields.needed_amount("sellLeverage")
    filters, holding = market.filters, account.holding(market)
    if buy != sell:
        raise Refusal(10001, "buy leverage must be equal to sell leverage in one-way mode")
    if buy > filters.max_leverage:
        raise Refusal(110013, f"cannot set leverage [{buy}] gt maxLeverage [{filters.max_leverage}] by risk limit")
    if buy < filters.min_leverage or not is_multiple(buy, filters.leverage_step):
        raise Refusal(10001, "params error: buyLeverage invalid")
    if buy == holding.leverage:
        raise Refusal(110043)
    if _more_margin(holding, buy) > margin.available(account):
        raise Refusal(110012)
    holding.leverage = buy
    publish_position(holding)


def _more_margin(holding: Holding, leverage: Decimal) -> Decimal:
    """Return how much more margin position and orders hold at this leverage; at least 0."""
    if not holding.position.net and not holding.open:
        return ZERO
    after = margin.initial_margin(holding, leverage) + margin.order_margin(holding, leverage=leverage)
    return max(ZERO, after - margin.initial_margin(holding) - margin.order_margin(holding))


def switch_mode(account: Account, markets: list[Market], fields: Fields) -> None:
    """Switch one symbol, or all of a coin, between one-way (0) and hedge mode (3), all or none."""
    mode = fields.number("mode", ONE_WAY, HEDGE, default=-1)
    if mode < 0:
        raise Refusal(10001, "params error: mode invalid")
    holdings = [account.holding(market) for market in markets]
    if all(each.mode == mode for each in holdings):
        raise Refusal(110025)
    if any(each.position.net for each in holdings):
        raise Refusal(110024)
    if any(each.open for each in holdings):
        raise Refusal(110028)
    for each in holdings:
        each.mode = mode
