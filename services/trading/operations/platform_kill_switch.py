"""The operator's kill switches: of the platform, of a symbol, of a tenant. As the owner, who sees all tenants."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.trading.operations.kill_switch import apply_switches
from services.trading.queries import entitlements, kill_switches
from services.trading.queries.kill_switches import ActiveSwitch
from shared.chassis.postgres import Connection
from shared.contracts.types import new_id


class UnknownTenant(LookupError):
    """There is no user with this public id, or trading does not know their plan yet."""


@dataclass(frozen=True)
class Scope:
    """Of a symbol, of a tenant by their public id, or of the platform."""

    symbol: str | None = None
    public_id: UUID | None = None

    def __str__(self) -> str:
        if self.public_id is not None:
            return f"user {self.public_id}"
        return self.symbol if self.symbol is not None else "the platform"


async def switch_on(
    connection: Connection, scope: Scope, now: datetime, *, flatten: bool, reason: str | None
) -> int:
    """Stop entries of the scope. Returns how many running sessions changed. Raises UnknownTenant."""
    if scope.public_id is None:
        await kill_switches.lock_platform(connection)
        await kill_switches.upsert_platform(connection, new_id(), scope.symbol, flatten=flatten, reason=reason)
        return await apply_switches(connection, now, symbol=scope.symbol)
    user_id = await _lock_tenant(connection, scope.public_id)
    await kill_switches.upsert_switch(
        connection, user_id, new_id(), None, flatten=flatten, reason=reason, is_operators=True
    )
    return await apply_switches(connection, now, user_id)


async def lift(connection: Connection, scope: Scope, now: datetime) -> int:
    """Lift the operator's switch of the scope. Returns how many running sessions changed. Raises UnknownTenant."""
    if scope.public_id is None:
        await kill_switches.lock_platform(connection)
        await kill_switches.lift_platform(connection, scope.symbol)
        return await apply_switches(connection, now, symbol=scope.symbol)
    user_id = await _lock_tenant(connection, scope.public_id)
    await kill_switches.lift_operators(connection, user_id)
    return await apply_switches(connection, now, user_id)


async def list_active(connection: Connection) -> list[ActiveSwitch]:
    return await kill_switches.list_active(connection)


async def _lock_tenant(connection: Connection, public_id: UUID) -> int:
    """Return the tenant, whose sessions do not start until the transaction ends. Raises UnknownTenant."""
    user_id = await entitlements.find_user(connection, public_id)
    if user_id is None:
        raise UnknownTenant(f"there is no user {public_id}")
    await entitlements.find_plan_limits(connection, user_id, lock=True)
    return user_id
