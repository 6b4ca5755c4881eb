"""Limits on entries of live sessions, checked in the transaction that records them: exact under any race."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.domain import REFUSALS
from services.trading.queries import account_risk, intents, live_entries
from services.trading.risk import find_breach
from shared.chassis.postgres import Connection
from shared.strategy.decimals import ZERO, exact

TRADES = "max_trades_per_month"


@dataclass(frozen=True)
class NewEntry:
    """An entry about to be recorded. `now` is the exchange's time."""

    user_id: int
    session_id: UUID
    account_id: UUID
    link_id: str
    bar: datetime
    quantity: Decimal
    now: datetime
    max_quantity: Decimal | None = None  # of an order, at the exchange


@dataclass(frozen=True)
class EntryRefusal:
    """The code of the limit that refuses an entry, with the limit and the figure that exceeds it."""

    code: str
    allowed: Decimal | None = None
    asked: Decimal | None = None


@dataclass
class Admission:
    """What became of entries, by link id: refused, or counted in a period of the plan.

    `prices`: the closes that they were sized with, by session. `breached`: the accounts whose entries stop now.
    """

    refused: dict[str, EntryRefusal] = field(default_factory=dict)
    periods: dict[str, datetime] = field(default_factory=dict)
    prices: Mapping[UUID, Decimal] = field(default_factory=dict)
    breached: set[tuple[int, UUID]] = field(default_factory=set)


async def admit_entries(connection: Connection, entries: Sequence[NewEntry]) -> Admission:
    """Check entries against the limits of their accounts and plans, in order, and count those admitted.

    Locks the accounts' limits, then the tenants' counts; the caller has locked the leases. What it changes is
    committed with the intents, refused ones included.
    """
    if not entries:
        return Admission()
    decided = [(each.user_id, each.session_id, each.bar) for each in entries]
    admission = Admission(prices=await intents.find_expected_prices(connection, decided))
    for entry in entries:
        if entry.max_quantity is not None and entry.quantity > entry.max_quantity:
            refusal = EntryRefusal("max_order_quantity", entry.max_quantity, entry.quantity)
            admission.refused[entry.link_id] = refusal
    if left := [each for each in entries if each.link_id not in admission.refused]:
        await _apply_risk(connection, left, admission)
    await _apply_plans(connection, [each for each in entries if each.link_id not in admission.refused], admission)
    return admission


async def _apply_risk(connection: Connection, entries: Sequence[NewEntry], admission: Admission) -> None:
    locked = await account_risk.lock_risks(connection, [(each.user_id, each.account_id) for each in entries])
    for (user_id, account_id), row in locked.items():
        of_account = [each for each in entries if (each.user_id, each.account_id) == (user_id, account_id)]
        entering = [each.session_id for each in of_account]
        facts = await account_risk.read_facts(connection, user_id, account_id, row, of_account[0].now, entering)
        is_breached = row.breached_at is not None
        for entry in of_account:
            with exact():
                notional = entry.quantity * admission.prices.get(entry.session_id, ZERO)
            breach = None if is_breached else find_breach(row.settings, facts, notional)
            if breach is not None:
                await account_risk.set_breach(connection, user_id, account_id, breach, entry.now)
                admission.breached.add((user_id, account_id))
                admission.refused[entry.link_id] = EntryRefusal(breach.limit, breach.allowed, breach.value)
                is_breached = True
            elif is_breached:
                admission.refused[entry.link_id] = EntryRefusal(REFUSALS["ACCOUNT_RISK"])
            else:
                facts = facts.with_entry(notional)


async def _apply_plans(connection: Connection, entries: Sequence[NewEntry], admission: Admission) -> None:
    if not entries:
        return
    counts = await live_entries.lock_counts(connection, [each.user_id for each in entries])
    admitted: Counter[int] = Counter()
    for entry in entries:
        counted = counts.get(entry.user_id)
        if counted is None:
            admission.refused[entry.link_id] = EntryRefusal(REFUSALS["PLAN_LIMIT"])
            continue
        used = counted.used + admitted[entry.user_id]
        if counted.limit is not None and used >= counted.limit:
            admission.refused[entry.link_id] = EntryRefusal(TRADES, Decimal(counted.limit), Decimal(used + 1))
            continue
        admitted[entry.user_id] += 1
        admission.periods[entry.link_id] = counted.period_start
    if admitted:
        await live_entries.add_to_counts(connection, counts, admitted)
