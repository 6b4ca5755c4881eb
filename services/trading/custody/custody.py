"""The one place that encrypts and decrypts exchange keys, and that asks the exchange about them."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from services.trading.custody.account_reader import AccountReader, Product, Site
from services.trading.custody.envelope import SealedSecret, SecretRow, seal, unseal
from services.trading.custody.judgement import Finding, check_offer, judge
from services.trading.custody.key_ring import KeyRing
from services.trading.custody.queries import NewKey, find_secret, get_account
from services.trading.errors import ExchangeAccountRefused, LiveTradingOff, SecretUnreadable
from services.trading.exchange.account_facts import AccountFacts, Credentials
from services.trading.exchange.venue import KeyRejected, NotSent, OutcomeUnknown, Refused, VenueUnavailable
from shared.chassis.errors import ExchangeUnreachable
from shared.chassis.postgres import Connection

MOST_WORDS = 200
SHOWN = 4


@dataclass(frozen=True, slots=True)
class Inspection:
    """The exchange's answer. `facts` None: it rejects the key. `refusals` empty: the account may trade."""

    facts: AccountFacts | None
    refusals: list[Finding]

    def require_usable(self) -> AccountFacts:
        """Raises ExchangeAccountRefused."""
        if self.facts is None or self.refusals:
            raise refused(self.refusals)
        return self.facts


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key as it is stored."""

    row: SecretRow
    secret: SealedSecret
    key: NewKey


class Custody:
    """`allows_live`: the operator lets accounts of environment LIVE be used."""

    def __init__(self, ring: KeyRing, reader: AccountReader, *, allows_live: bool) -> None:
        self._ring = ring
        self._reader = reader
        self.allows_live = allows_live

    def check_site(self, site: Site, product: Product = "LINEAR") -> None:
        """Raises LiveTradingOff, and ExchangeAccountRefused where this product does not exist."""
        if site.environment == "LIVE" and not self.allows_live:
            raise LiveTradingOff("the operator of this platform has not turned on LIVE accounts")
        if findings := check_offer(site.region, product):
            raise refused(findings)

    async def inspect(
        self, credentials: Credentials, site: Site, now: datetime, *, may_set: bool = False
    ) -> Inspection:
        """Ask the exchange about an account. With `may_set`, let it reject limit orders beyond the price band if
        that is all that is wrong. Raises ExchangeUnreachable, LiveTradingOff."""
        self.check_site(site)
        try:
            facts = await self._reader.read_account_facts(credentials, site)
            refusals = judge(facts, now)
            if may_set and [finding.field for finding in refusals] == ["limit_price_action"]:
                facts = await self._with_limit_price_action(credentials, site, facts)
                refusals = judge(facts, now)
        except KeyRejected as error:
            reason = f"the exchange rejects the key: {_without(credentials, str(error))}"
            return Inspection(None, [Finding("api_key", reason)])
        except (VenueUnavailable, NotSent, OutcomeUnknown):
            # Not as the cause: the client library's text may repeat the request, and with it the key.
            raise ExchangeUnreachable from None
        return Inspection(facts, refusals)

    async def _with_limit_price_action(
        self, credentials: Credentials, site: Site, facts: AccountFacts
    ) -> AccountFacts:
        """Return the facts after the change, or as they are if the exchange refuses it."""
        try:
            await self._reader.set_limit_price_action(credentials, site)
        except Refused:
            return facts
        return replace(facts, rejects_beyond_band=True)

    async def seal(self, row: SecretRow, credentials: Credentials) -> SealedKey:
        """Encrypt a key for its row. Raises KeyUnavailable."""
        key = NewKey(await self._ring.hash(credentials.api_key), masked(credentials.api_key))
        return SealedKey(row, await seal(self._ring, row, credentials), key)

    async def open_credentials(self, connection: Connection, user_id: int, account_id: UUID) -> Credentials:
        """Decrypt the key of an account, as trading_worker: no other role can read it.

        Raises NotFound, LiveTradingOff, SecretUnreadable, KeyUnavailable.
        """
        account = await get_account(connection, user_id, account_id)
        self.check_site(account.site)
        found = await find_secret(connection, user_id, account_id)
        if found is None:
            raise SecretUnreadable("the secret of this version of the key is missing")
        return await unseal(self._ring, *found)


def refused(findings: list[Finding]) -> ExchangeAccountRefused:
    """Return the problem that names each field and its reason."""
    words = "; ".join(f"{finding.field}: {finding.reason}" for finding in findings)
    return ExchangeAccountRefused(words, refusals=as_json(findings))


def as_json(findings: list[Finding]) -> list[dict[str, str]]:
    return [{"field": finding.field, "reason": finding.reason} for finding in findings]


def masked(api_key: str) -> str:
    return f"{api_key[:SHOWN]}…{api_key[-SHOWN:]}"


def _without(credentials: Credentials, words: str) -> str:
    """Return the exchange's words, bounded and without the key and the secret."""
    for part in (credentials.api_secret, credentials.api_key):
        words = words.replace(part, "…")
    return "".join(each if each.isprintable() else " " for each in words[:MOST_WORDS])
