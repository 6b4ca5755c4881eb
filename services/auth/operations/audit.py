"""Verify the activity logs: read every chain, in blocks of users, and change nothing."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.auth.domain.chain import ChainCheck, ChainFault
from services.auth.queries import accounts, activity
from shared.chassis.postgres import Connection, Database
from shared.contracts.emails import email_sha256

USERS_AT_ONCE = 1_000


@dataclass(frozen=True)
class AuditScope:
    """The users whose chains to read, in blocks, and the number of rows according to their heads."""

    blocks: Sequence[range]
    entries: int


@dataclass(frozen=True)
class LogFault:
    """A fault and the user whose log it is in; `public_id` is None if the user row is missing too."""

    fault: ChainFault
    public_id: UUID | None


@dataclass(frozen=True)
class AuditProgress:
    """Rows read since the previous progress, chains completed, and the faults found in them."""

    rows: int
    chains: int
    faults: Sequence[LogFault] = ()


async def find_scope(database: Database, email: str | None) -> AuditScope | None:
    """Return the scope of one user, or of all. Returns None if no account has this e-mail."""
    async with database.tenants([]) as connection:
        if email is not None:
            user_id = await accounts.locate_email(connection, email_sha256(email))
            blocks = [] if user_id is None else [range(user_id, user_id + 1)]
        else:
            highest = await activity.get_highest_user_id(connection)
            blocks = [
                range(first, min(first + USERS_AT_ONCE, highest + 1))
                for first in range(1, highest + 1, USERS_AT_ONCE)
            ]
    if email is not None and not blocks:
        return None
    entries = 0
    for block in blocks:
        async with database.tenants(block) as connection:
            entries += await activity.count_entries(connection, block)
    return AuditScope(blocks, entries)


async def verify(database: Database, scope: AuditScope) -> AsyncIterator[AuditProgress]:
    """Verify block by block. Each block is read from one snapshot, so concurrent writes are no faults."""
    for block in scope.blocks:
        async with database.tenants(block) as connection:
            await activity.use_snapshot(connection)
            async for progress in _verify_block(connection, block):
                yield progress


async def _verify_block(connection: Connection, block: range) -> AsyncIterator[AuditProgress]:
    heads = await activity.find_heads(connection, block)
    public_ids = await activity.find_public_ids(connection, block)
    check: ChainCheck | None = None
    faults: list[ChainFault] = []
    rows = chains = 0
    async for link in activity.read_links(connection, block):
        if check is None or check.user_id != link.entry.user_id:
            faults += check.end() if check else []
            check = ChainCheck(link.entry.user_id, heads.pop(link.entry.user_id, None))
            chains += 1
        faults += check.add(link)
        rows += 1
        if rows == activity.ROWS_AT_ONCE:
            yield AuditProgress(rows, 0)
            rows = 0
    faults += check.end() if check else []
    for user_id, head in heads.items():  # chains of which no row is left
        faults += ChainCheck(user_id, head).end()
        chains += 1
    yield AuditProgress(rows, chains, [LogFault(fault, public_ids.get(fault.user_id)) for fault in faults])
