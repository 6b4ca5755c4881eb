"""Run an operation as a request's handler does: in one transaction of its tenant."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar  # Any: the operation's own arguments

from shared.chassis.auth import Principal
from shared.chassis.postgres import Database

R = TypeVar("R")


async def as_tenant(
    database: Database,
    operation: Callable[..., Awaitable[R]],
    owner: int | Principal,
    *arguments: Any,
    **named: Any,
) -> R:
    """Return the operation's result, committed. `owner` is its argument after the connection."""
    user_id = owner.user_id if isinstance(owner, Principal) else owner
    async with database.tenant(user_id) as connection:
        return await operation(connection, owner, *arguments, **named)
