"""What custody asks the exchange: who an account is, and one setting."""

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from services.trading.exchange.account_facts import AccountFacts, Credentials, Environment

# The exchange's sites; each has hosts of its own.
Region = Literal["GLOBAL", "NL", "TR", "KZ", "AE", "EU", "ID", "GE", "JP"]
Product = Literal["LINEAR", "SPOT"]
ENVIRONMENTS: tuple[Environment, ...] = get_args(Environment)


@dataclass(frozen=True, slots=True)
class Site:
    """Where an account is: it determines the exchange's address."""

    environment: Environment
    region: Region


class AccountReader(Protocol):
    """The exchange's answers about an account. Both raise KeyRejected and VenueUnavailable."""

    async def read_account_facts(self, credentials: Credentials, site: Site) -> AccountFacts:
        """Return what the exchange says about the account and its key."""

    async def set_limit_price_action(self, credentials: Credentials, site: Site) -> None:
        """Let the exchange refuse limit orders beyond the price band. Raises Refused too."""
