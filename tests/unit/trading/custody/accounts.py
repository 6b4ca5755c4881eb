"""An exchange with accounts, in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any  # fields of AccountFacts

from services.trading.custody.account_reader import Site
from services.trading.exchange.account_facts import AccountFacts, Credentials
from services.trading.exchange.venue import KeyRejected, Refused, VenueUnavailable

TRADES = {"ContractTrade": ("Order", "Position"), "Derivatives": ("DerivativesTrade",)}
FACTS = AccountFacts(
    uid="24617703",
    parent_uid="24600001",
    is_read_only=False,
    is_third_party=False,
    permissions=TRADES,
    addresses=("203.0.113.7",),
    expires_at=None,
    days_left=None,
    is_unified=True,
    margin_mode="REGULAR_MARGIN",
    rejects_beyond_band=True,
    pays_fees_in_mnt=False,
    is_delta_neutral=False,
    kyc_region="ITA",
)


@dataclass
class Accounts:
    """Every API key is valid and of an account of its own, unless it is changed here: `changes` are the fields that
    differ, by API key. `asked` lists who was asked about, in order."""

    changes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)  # the exchange's words, by API key
    secrets: dict[str, str] = field(default_factory=dict)  # the only secret that fits, by API key
    is_down: bool = False
    refuses_settings: bool = False
    asked: list[tuple[str, Site]] = field(default_factory=list)
    set_for: list[str] = field(default_factory=list)

    def change(self, api_key: str, **changes: Any) -> None:
        self.changes[api_key] = {**self.changes.get(api_key, {}), **changes}

    async def read_account_facts(self, credentials: Credentials, site: Site) -> AccountFacts:
        self._check(credentials, site)
        uid = str(int(sha256(credentials.api_key.encode()).hexdigest()[:8], 16))
        return replace(FACTS, **{"uid": uid, **self.changes.get(credentials.api_key, {})})

    async def set_limit_price_action(self, credentials: Credentials, site: Site) -> None:
        self._check(credentials, site)
        if self.refuses_settings:
            raise Refused(10005, "Permission denied")
        self.set_for.append(credentials.api_key)
        self.change(credentials.api_key, rejects_beyond_band=True)

    def _check(self, credentials: Credentials, site: Site) -> None:
        self.asked.append((credentials.api_key, site))
        if self.is_down:
            raise VenueUnavailable(f"no answer to {credentials.api_key} {credentials.api_secret}")
        if (words := self.rejected.get(credentials.api_key)) is not None:
            raise KeyRejected(10003, words)
        if self.secrets.get(credentials.api_key, credentials.api_secret) != credentials.api_secret:
            raise KeyRejected(10004, f"error sign! origin_string[{credentials.api_key}{credentials.api_secret}]")
