"""Showing who one is by a password, and what follows from failing at it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.auth.domain.accounts import Credentials, email_sha256
from services.auth.domain.attempts import (
    KNOWN_FOR,
    MOST_KNOWN_NETWORKS,
    NOWHERE,
    Free,
    account_counter,
    counted,
    network_counter,
    network_of,
    seconds_to_wait,
)
from services.auth.domain.registrations import Allowed
from services.auth.errors import BadCredentials, TooManyAttempts, TooManyLogins
from services.auth.operations.passwords import Passwords
from services.auth.operations.tokens import AccessTokens
from services.auth.queries import accounts, attempts
from shared.chassis.activity import Activity, record
from shared.chassis.http.client_address import Client
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import new_id

NOBODY = 0


@dataclass(frozen=True)
class PasswordCheck:
    """What a login needs: the accounts, the hashers, the signing keys, how long things last, and how many may
    fail or be made."""

    database: Database
    passwords: Passwords
    tokens: AccessTokens
    refresh_ttl: timedelta
    longest_session: timedelta
    free: Free = field(default_factory=Free)
    registrations: Allowed = field(default_factory=Allowed)


@dataclass(frozen=True)
class ClaimedAccount:
    """Whose e-mail it is, and where this attempt to prove it is counted."""

    user_id: int
    known: Credentials | None
    network: str
    account_counter: bytes
    network_counter: bytes


async def look_up(desk: PasswordCheck, email: str, client: Client, now: datetime) -> ClaimedAccount:
    """The same statements whether or not there is such a user. The attempt counts from here on.

    Raises TooManyAttempts.
    """
    sha256, network = email_sha256(email), network_of(client.ip_address)
    async with desk.database.untenanted() as connection:
        user_id = await accounts.locate_email(connection, sha256) or NOBODY
    async with desk.database.tenant(user_id) as connection:
        known = await accounts.find_credentials(connection, user_id)
        at_home = await attempts.is_known_network(connection, user_id, network, now - KNOWN_FOR)
        account = account_counter(sha256, network, known=at_home)
        found = ClaimedAccount(user_id, known, network, account, network_counter(network))
        await count_attempt(connection, found, desk.free, now)
    return found


async def find_known(desk: PasswordCheck, found: ClaimedAccount, email: str) -> ClaimedAccount:
    """The same attempt, where an account came about meanwhile."""
    async with desk.database.untenanted() as connection:
        user_id = await accounts.locate_email(connection, email_sha256(email)) or NOBODY
    async with desk.database.tenant(user_id) as connection:
        return replace(found, user_id=user_id, known=await accounts.find_credentials(connection, user_id))


async def count_attempt(connection: Connection, found: ClaimedAccount, free: Free, now: datetime) -> None:
    """Raises TooManyAttempts; the attempt is not counted then, and nothing else happens in its transaction."""
    counts = await attempts.lock_attempts(connection, [found.account_counter, found.network_counter], now)
    if seconds := max(seconds_to_wait(count, free.of(count.counter), now) for count in counts):
        raise TooManyAttempts(retry_after_s=seconds)
    await attempts.update_attempts(connection, [counted(count, now) for count in counts])


async def prove(
    desk: PasswordCheck, found: ClaimedAccount, password: str, failing: str, client: Client, now: datetime
) -> Credentials:
    """Raises BadCredentials, which is recorded as `failing`; TooManyLogins."""
    known = found.known
    async with giving_back(desk, found):
        right = await desk.passwords.check(known.password_hash if known else None, password)
    if not right or known is None:
        await note_failure(desk.database, found, failing, client, now)
        raise BadCredentials
    return known


@asynccontextmanager
async def giving_back(desk: PasswordCheck, found: ClaimedAccount) -> AsyncIterator[None]:
    """An attempt that nobody had time for was none."""
    try:
        yield
    except TooManyLogins:
        async with desk.database.untenanted() as connection:
            await attempts.take_back_attempt(connection, found.account_counter)
            await attempts.take_back_attempt(connection, found.network_counter)
        raise


async def succeed(connection: Connection, found: ClaimedAccount, now: datetime) -> None:
    """The account's failures are forgotten, the network's stay; and here he is known from now on."""
    await attempts.delete_attempts(connection, found.account_counter)
    await attempts.take_back_attempt(connection, found.network_counter)
    if found.network != NOWHERE:
        most = MOST_KNOWN_NETWORKS
        await attempts.upsert_known_network(connection, found.user_id, found.network, now, most)


class _OfNobody(Exception):
    """Undoes what there is nobody to write down for."""


async def note_failure(
    database: Database, found: ClaimedAccount, activity_type: str, client: Client, now: datetime
) -> None:
    """In the log of the one whose account it is. Where it is nobody's, the same is written and undone, and a
    transaction committed all the same, so that it takes as long."""
    public_id = found.known.public_id if found.known else new_id()
    activity = Activity(found.user_id, public_id, activity_type, client, now, actor="UNKNOWN")
    async with database.as_one(found.user_id):
        try:
            async with database.tenant(found.user_id) as connection:
                await record(connection, "auth", activity)
                if found.known is None:
                    raise _OfNobody
        except _OfNobody:
            pass
