"""Are the activity logs what was written? Reads every chain, of so many users at a time, and changes nothing."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.auth.domain.accounts import email_sha256
from services.auth.domain.chain import ChainCheck, ChainFault
from services.auth.queries import accounts, activity
from shared.chassis.postgres import Connection, Database

USERS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Extent:
    """Whose chains are to be read, in blocks, and how many rows their heads say there are."""

    blocks: Sequence[range]
    entries: int


@dataclass(frozen=True)
class LogFault:
    """A fault, and whose log it is in; no public id where the user is gone too."""

    fault: ChainFault
    public_id: UUID | None


@dataclass(frozen=True)
class AuditProgress:
    """Rows read since the last one, chains ended, and the faults found among them."""

    rows: int
    chains: int
    found: Sequence[LogFault] = ()


async def find_extent(database: Database, email: str | None) -> Extent | None:
    """Of one person, or of all; None where nobody has this e-mail."""
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
    return Extent(blocks, entries)


async def verify(database: Database, extent: Extent) -> AsyncIterator[AuditProgress]:
    """Block by block; each is read as of one moment, so that what is being written meanwhile is no fault."""
    for block in extent.blocks:
        async with database.tenants(block) as connection:
            await activity.read_as_of_one_moment(connection)
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
    for user_id, head in heads.items():  # of which no row is left
        faults += ChainCheck(user_id, head).end()
        chains += 1
    yield AuditProgress(rows, chains, [LogFault(fault, public_ids.get(fault.user_id)) for fault in faults])
