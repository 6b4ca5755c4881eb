"""Exchange accounts with their keys opened: for the worker that trades on them, and to look at a symbol."""

from dataclasses import dataclass
from uuid import UUID

from services.trading.bybit_api import MarketApi, UnknownSymbol
from services.trading.custody.custody import Custody
from services.trading.custody.queries import get_account
from services.trading.exchange.exchange import Exchange, TradingAccount
from services.trading.exchange.symbol_state import SymbolState
from services.trading.exchange.venue import VenueUnavailable
from shared.chassis.postgres import Database


@dataclass(frozen=True, slots=True)
class OpenedAccount:
    """`key_version`: rises when the tenant replaces the key."""

    account: TradingAccount
    key_version: int


class ConnectedAccounts:
    def __init__(self, database: Database, custody: Custody, exchange: Exchange, market: MarketApi) -> None:
        self._database = database
        self._custody = custody
        self._exchange = exchange
        self._market = market

    async def open(self, user_id: int, account_id: UUID) -> OpenedAccount:
        """Decrypt the account's key. Raises NotFound, LiveTradingOff, SecretUnreadable, KeyUnavailable."""
        async with self._database.tenants([user_id]) as connection:
            row = await get_account(connection, user_id, account_id)
            credentials = await self._custody.open_credentials(connection, user_id, account_id)
        account = TradingAccount(user_id, row.exchange_uid, row.environment, row.region, credentials)
        return OpenedAccount(account, row.key_version)

    async def read_symbol(self, user_id: int, account_id: UUID, symbol: str) -> SymbolState:
        """Ask the exchange with the account's key. Raises KeyRejected, VenueUnavailable, and as `open`."""
        opened = await self.open(user_id, account_id)
        venue = self._exchange.venue(opened.account)
        try:
            contract = await self._market.contract(symbol)
        except UnknownSymbol as error:
            raise VenueUnavailable(f"the exchange does not list {symbol}") from error
        position, orders = await venue.get_position(symbol), await venue.list_open_orders([symbol])
        return SymbolState(position, orders, contract)
