"""Instruments: stored whenever a part asks the exchange for one, and used by running sessions from their next entry
on."""

from dataclasses import asdict

from services.trading.bybit_api import VENUE, MarketApi
from services.trading.domain import InstrumentChange
from services.trading.queries import candles, restrictions, sessions
from services.trading.queries.sessions import SessionLease
from shared.chassis.postgres import Connection, Database
from shared.strategy.bars import Instrument


async def refresh_instrument(database: Database, api: MarketApi, symbol: str) -> Instrument:
    """Fetch the instrument from the exchange and store it. Raises UnknownSymbol, VenueUnavailable."""
    instrument = await api.instrument(symbol)
    async with database.tenants(()) as connection:
        await candles.upsert_instrument(connection, VENUE, symbol, instrument)
    return instrument


async def change_instrument(
    connection: Connection, lease: SessionLease, instrument: Instrument
) -> InstrumentChange | None:
    """Record that a running session enters with this instrument from the bar after its last one.

    Returns None if the lease is lost or the session has stopped.
    """
    if not await sessions.lock_held_lease(connection, lease):
        return None
    session = await sessions.find_session(connection, lease.user_id, lease.session_id, lock=True)
    if session is None or session.status == "STOPPED":
        return None
    note = restrictions.Restriction("INSTRUMENT_CHANGED", after_bar=session.last_bar, **asdict(instrument))
    await restrictions.insert_restriction(connection, lease.user_id, lease.session_id, note)
    return InstrumentChange(session.last_bar, instrument)
