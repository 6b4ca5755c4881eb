"""Read a session from trading's database, for commands."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import asyncpg

from cli.options import BadOption, quoted
from cli.target import find_dsn
from services.trading.operations.verify_session import NotVerifiable
from services.trading.settings import TradingSettings
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from stack.failure import BadInput

T = TypeVar("T")


def session_id_of(text: str) -> UUID:
    try:
        if len(text) != 36:
            raise ValueError("not the canonical form")
        return UUID(text)
    except ValueError:
        raise BadOption(f"ID: {quoted(text)} is not a session id") from None


def trading_dsn(home: Path | None) -> str:
    """Return the DSN of trading's app role. Raises BadInput."""
    return find_dsn(home, "POSTGRES_APP_DSN", lambda state: state.trading)


async def with_trading(dsn: str, read: Callable[[Database], Awaitable[T]]) -> T:
    """Read with trading's app role. Raises BadInput."""
    dsns = dict.fromkeys(("postgres_app_dsn", "postgres_worker_dsn", "postgres_queue_dsn"), dsn)
    database = await Database.connect(TradingSettings.model_validate({**dsns, "kafka_bootstrap": ""}))
    try:
        return await read(database)
    except NotVerifiable as error:
        raise BadInput(str(error)) from error
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"trading's database does not answer: {error!r}") from error
    finally:
        await database.close()
