"""Add, check, change and delete exchange accounts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import asyncpg

from services.trading.custody import queries
from services.trading.custody.alarms import Alarm, causes_of, due_alarms
from services.trading.custody.custody import Inspection, SealedKey, as_json, refused
from services.trading.custody.judgement import Finding, expiry_of, permissions_of
from services.trading.custody.queries import AccountRow, CheckedFacts, NewAccount
from services.trading.custody.risk_notice import VERSION
from services.trading.errors import (
    ExchangeAccountInUse,
    ExchangeAccountKnown,
    ExchangeAccountNotUsable,
    ExchangeAccountsFull,
    LiveTradingOff,
    RiskNoticeNotAccepted,
)
from services.trading.exchange.account_facts import AccountFacts
from services.trading.operations.block_entries import block_entries, unblock_entries
from services.trading.queries import sessions
from services.trading.queries.account_risk import list_sessions_of_account
from shared.chassis.errors import Conflict, InvalidInput, NameTaken
from shared.chassis.events.outbox import emit
from shared.chassis.http.etags import ANY_STATE, IfMatch
from shared.chassis.postgres import Connection
from shared.contracts.trading import ExchangeAccountAlarmed

MAX_ACCOUNTS = 50


async def add_account(
    connection: Connection,
    account: NewAccount,
    facts: AccountFacts,
    sealed: SealedKey,
    every_s: float,
    now: datetime,
) -> AccountRow:
    """Store an account that a check found usable, with its key; it is checked again every `every_s`.

    Raises ExchangeAccountsFull, ExchangeAccountKnown, NameTaken.
    """
    if await queries.count_accounts(connection, account.user_id) >= MAX_ACCOUNTS:
        raise ExchangeAccountsFull(f"you can have at most {MAX_ACCOUNTS} exchange accounts", limit=MAX_ACCOUNTS)
    known = await queries.find_account_of_uid(
        connection, account.user_id, account.environment, account.exchange_uid
    )
    if known is not None:
        raise ExchangeAccountKnown("replace its key, or use a sub-account", exchange_account_id=str(known))
    if not await queries.claim_uid(connection, account.user_id, account.environment, account.exchange_uid):
        raise ExchangeAccountKnown
    try:
        row = await queries.insert_account(connection, account, sealed.key, _facts_of(facts, [], now))
    except asyncpg.UniqueViolationError as error:
        raise _taken(error, account.account_name) from error
    await queries.insert_secret(connection, sealed.row, sealed.secret)
    await queries.insert_check(
        connection, account.user_id, account.exchange_account_id, account.environment, every_s
    )
    return row


async def replace_key(
    connection: Connection, account: AccountRow, facts: AccountFacts, sealed: SealedKey, now: datetime
) -> AccountRow:
    """Replace the key by one of the same account that a check found usable; the earlier one is destroyed.

    `account` is as it was when the key was encrypted for its next version. Raises NotFound, Conflict if another
    request has replaced it since, ExchangeAccountRefused, ExchangeAccountKnown.
    """
    user_id, account_id = account.user_id, account.exchange_account_id
    found = await queries.get_account(connection, user_id, account_id, lock=True)
    if found.key_version != account.key_version:
        raise Conflict("another request has replaced the key meanwhile")
    if facts.uid != found.exchange_uid:
        raise refused([_other_account()])
    if not await queries.claim_uid(connection, user_id, found.environment, found.exchange_uid):
        raise ExchangeAccountKnown
    try:
        await queries.update_key(connection, user_id, account_id, sealed.key)
    except asyncpg.UniqueViolationError as error:
        raise _taken(error, found.account_name) from error
    await queries.insert_secret(connection, sealed.row, sealed.secret)
    row = await queries.update_facts(connection, user_id, account_id, _facts_of(facts, [], now))
    await _restrict_entries(connection, row)
    return row


async def record_check(
    connection: Connection, account: AccountRow, inspection: Inspection, now: datetime
) -> AccountRow:
    """Store what a check of this key found, and notify the tenant of what is new.

    A key that the exchange rejects gives the account free: another user with a key that works may connect it.
    Returns the account unchanged if its key was replaced meanwhile. Raises NotFound.
    """
    user_id, account_id = account.user_id, account.exchange_account_id
    found = await queries.get_account(connection, user_id, account_id, lock=True)
    if found.key_version != account.key_version:
        return found
    checked = await _checked(connection, found, inspection, now)
    grown = sorted(set(checked.permissions) - set(found.permissions))
    alarms = due_alarms(checked.alarmed, found.alarmed, grown)
    row = await queries.update_facts(connection, user_id, account_id, checked, len(alarms))
    await _emit_alarms(connection, row, alarms, now)
    if row.status != found.status:
        await _restrict_entries(connection, row)
    return row


async def _restrict_entries(connection: Connection, account: AccountRow) -> None:
    """Let the account's running sessions enter only while it is usable. The caller has locked the account."""
    user_id = account.user_id
    await sessions.get_entries(connection, user_id)  # locks the leases
    of_account = await list_sessions_of_account(connection, user_id, account.exchange_account_id)
    change = unblock_entries if account.status == "READY" else block_entries
    await change(connection, user_id, of_account, "ACCOUNT_REFUSED")


async def _checked(
    connection: Connection, account: AccountRow, inspection: Inspection, now: datetime
) -> CheckedFacts:
    uid = (account.user_id, account.environment, account.exchange_uid)
    if inspection.facts is None:
        await queries.release_uid(connection, *uid)
        causes = causes_of([], account.key_expires_at, now, is_rejected=True)
        return replace(
            _facts_as_stored(account),
            status="KEY_REJECTED",
            refusals=as_json(inspection.refusals),
            alarmed=causes,
            checked_at=now,
        )
    refusals = list(inspection.refusals)
    if inspection.facts.uid != account.exchange_uid:
        refusals.append(_other_account())
    elif not await queries.claim_uid(connection, *uid):
        refusals.append(
            Finding("exchange_uid", "another user has connected this account since its key was rejected")
        )
    return _facts_of(inspection.facts, refusals, now)


def _facts_of(facts: AccountFacts, refusals: Sequence[Finding], now: datetime) -> CheckedFacts:
    expires_at = expiry_of(facts, now)
    return CheckedFacts(
        status="REFUSED" if refusals else "READY",
        refusals=as_json(list(refusals)),
        alarmed=causes_of(refusals, expires_at, now),
        permissions=permissions_of(facts),
        addresses=list(facts.addresses),
        is_third_party=facts.is_third_party,
        key_expires_at=expires_at,
        margin_mode=facts.margin_mode,
        kyc_region=facts.kyc_region,
        checked_at=now,
    )


def _facts_as_stored(account: AccountRow) -> CheckedFacts:
    return CheckedFacts(**{name: getattr(account, name) for name in CheckedFacts.__dataclass_fields__})


async def _emit_alarms(connection: Connection, account: AccountRow, alarms: Sequence[Alarm], now: datetime) -> None:
    first = account.event_seq - len(alarms) + 1
    await emit(
        connection,
        *(
            ExchangeAccountAlarmed(
                user_id=account.user_id,
                public_id=account.public_id,
                aggregate=f"exchange_account:{account.exchange_account_id}",
                aggregate_seq=seq,
                exchange_account_id=account.exchange_account_id,
                account_name=account.account_name,
                environment=account.environment,
                reason=alarm.reason,
                details=alarm.details,
                expires_at=account.key_expires_at,
                since=now,
            )
            for seq, alarm in enumerate(alarms, first)
        ),
    )


async def rename_account(
    connection: Connection, user_id: int, account_id: UUID, name: str, if_match: IfMatch = ANY_STATE
) -> AccountRow:
    """Raises NotFound, PreconditionFailed, NameTaken."""
    found = await queries.get_account(connection, user_id, account_id, lock=True)
    if_match.check(found.revision)
    try:
        return await queries.update_name(connection, user_id, account_id, name)
    except asyncpg.UniqueViolationError as error:
        raise _taken(error, name) from error


async def delete_account(
    connection: Connection, user_id: int, account_id: UUID, if_match: IfMatch = ANY_STATE
) -> None:
    """Delete an account and destroy its key. Raises NotFound, PreconditionFailed, ExchangeAccountInUse."""
    found = await queries.get_account(connection, user_id, account_id, lock=True)
    if_match.check(found.revision)
    if running := await queries.count_running_sessions(connection, user_id, account_id):
        raise ExchangeAccountInUse(f"{running} sessions trade on it", sessions=running)
    await queries.release_uid(connection, user_id, found.environment, found.exchange_uid)
    await queries.delete_account(connection, user_id, account_id)


async def accept_risk_notice(connection: Connection, user_id: int, version: int, now: datetime) -> datetime:
    """Record that the tenant accepts the current notice, and return when they did. Raises InvalidInput for another
    version."""
    if version != VERSION:
        fault = {"path": "$.version", "reason": f"the current version is {VERSION}; read it first"}
        raise InvalidInput(errors=[fault])
    await queries.insert_acceptance(connection, user_id, version, now)
    accepted = await queries.find_accepted_version(connection, user_id)
    assert accepted is not None, "it was inserted above"
    return accepted[1]


async def require_usable(
    connection: Connection, user_id: int, account_id: UUID, *, allows_live: bool
) -> AccountRow:
    """Return an account on which entries may be made, locked against its deletion.

    Raises NotFound, LiveTradingOff, RiskNoticeNotAccepted, ExchangeAccountNotUsable.
    """
    found = await queries.get_account(connection, user_id, account_id, lock=True)
    if found.environment == "LIVE":
        if not allows_live:
            raise LiveTradingOff("the operator of this platform has not turned on LIVE accounts")
        if not await has_accepted(connection, user_id):
            raise RiskNoticeNotAccepted(version=VERSION)
    if found.status != "READY":
        raise ExchangeAccountNotUsable(refusals=found.refusals)
    return found


async def has_accepted(connection: Connection, user_id: int) -> bool:
    """Return whether the tenant accepted the current risk notice."""
    accepted = await queries.find_accepted_version(connection, user_id)
    return accepted is not None and accepted[0] >= VERSION


def _other_account() -> Finding:
    return Finding("exchange_uid", "the key is of another account; add that one instead")


def _taken(error: asyncpg.UniqueViolationError, name: str) -> NameTaken | ExchangeAccountKnown:
    if "account_name" in str(error.constraint_name):
        return NameTaken(f"an exchange account named {name!r} already exists")
    return ExchangeAccountKnown("this key is in use by another of your accounts")
