"""Judges an account and its key by what the exchange says about them. Pure.

The key may do what trading needs and nothing else, whatever permissions the exchange adds; the account must be one
on which an order does what the strategy means by it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.trading.custody.account_reader import Product, Region
from services.trading.exchange.account_facts import AccountFacts

# By the exchange's group. Reading needs no permission of its own.
ALLOWED: Mapping[str, frozenset[str]] = {
    "ContractTrade": frozenset({"Order", "Position"}),
    "Spot": frozenset({"SpotTrade"}),
    "Derivatives": frozenset({"DerivativesTrade"}),
}
NEEDED = ("ContractTrade.Order", "ContractTrade.Position")
MARGIN_MODES = ("REGULAR_MARGIN", "ISOLATED_MARGIN")
WITHOUT_PERPETUALS: Mapping[Region, str] = {"EU": "bybit.eu offers spot and margin trading only"}
EXPIRY_DAYS = (30, 7, 1)  # days before a key expires on which its tenant is notified
MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """`field` is one of the account's view, or of the request."""

    field: str
    reason: str


def check_offer(region: Region, product: Product) -> list[Finding]:
    """Return why the platform cannot trade this product there; empty if it can."""
    if product != "LINEAR":
        return [Finding("product", "this version trades linear perpetual contracts only, not spot")]
    if region in WITHOUT_PERPETUALS:
        return [Finding("region", f"{WITHOUT_PERPETUALS[region]}: there are no perpetual contracts for a bot")]
    return []


def judge(facts: AccountFacts, now: datetime) -> list[Finding]:
    """Return why the account or its key is refused, each with what to do about it; empty if it may trade."""
    return [*_key_faults(facts, now), *_account_faults(facts)]


def _key_faults(facts: AccountFacts, now: datetime) -> Iterator[Finding]:
    held = permissions_of(facts)
    if forbidden := [name for name in held if not is_allowed(name)]:
        yield Finding("permissions", f"the key may do more than trade; create one without {_listed(forbidden)}")
    if missing := [name for name in NEEDED if name not in held]:
        yield Finding("permissions", f"the key may not trade contracts; add {_listed(missing)}")
    if facts.is_read_only:
        yield Finding("is_read_only", "the key is read-only; create one that may read and write")
    if (expires_at := expiry_of(facts, now)) is not None and expires_at <= now:
        yield Finding("key_expires_at", "the key has expired; create another one")


def _account_faults(facts: AccountFacts) -> Iterator[Finding]:
    if not facts.is_unified:
        yield Finding("account_type", "it is no unified trading account; upgrade it at the exchange")
    if facts.margin_mode not in MARGIN_MODES:
        modes = "cross margin or isolated margin"
        yield Finding("margin_mode", f"it is {facts.margin_mode[:50]}; switch the account to {modes}")
    if facts.hedge_symbols:
        where = _listed(facts.hedge_symbols)
        yield Finding("position_mode", f"hedge mode is on for {where}; switch to one-way mode")
    if facts.is_delta_neutral:
        yield Finding("is_delta_neutral", "delta-neutral mode is on; switch it off")
    if not facts.rejects_beyond_band:
        yield Finding(
            "limit_price_action",
            "the exchange moves limit orders beyond the price band to another price; in the account's preferences "
            "choose that it rejects them (set-limit-px-action for linear, lpaPerp=true)",
        )
    if facts.pays_fees_in_mnt:
        yield Finding("fee_coin", "fees are paid in MNT; switch that off, so that they are paid in the settle coin")


def permissions_of(facts: AccountFacts) -> list[str]:
    """Return the key's permissions as `Group.Permission`, sorted."""
    return sorted(f"{group}.{name}" for group, names in facts.permissions.items() for name in names)


def is_allowed(permission: str) -> bool:
    group, _, name = permission.partition(".")
    return name in ALLOWED.get(group, frozenset())


def expiry_of(facts: AccountFacts, now: datetime) -> datetime | None:
    """Return when the key expires: at its own time, or by the days that a key without a bound address has left."""
    if facts.expires_at is not None or facts.days_left is None:
        return facts.expires_at
    return now + timedelta(days=facts.days_left)


def warnings_of(expires_at: datetime | None, addresses: Sequence[str], now: datetime) -> list[Finding]:
    """Return what the tenant should know although the account may trade."""
    found = []
    if expires_at is not None and expires_at - now <= timedelta(days=EXPIRY_DAYS[0]):
        found.append(Finding("key_expires_at", f"the key expires {_in_days(expires_at - now)}; replace it before"))
    if not addresses:
        found.append(
            Finding(
                "ip_addresses", "the key may be used from any address; one bound to addresses is safer and lasts"
            )
        )
    return found


def _in_days(left: timedelta) -> str:
    days = max(left.days, 0)
    return "within a day" if days < 1 else f"in {days} day{'s' if days > 1 else ''}"


def _listed(names: Iterable[str]) -> str:
    """Return the names, bounded: they come from outside."""
    bounded = [name[:60] for name in names]
    more = f" and {len(bounded) - MOST_NAMED} more" if len(bounded) > MOST_NAMED else ""
    return ", ".join(bounded[:MOST_NAMED]) + more
