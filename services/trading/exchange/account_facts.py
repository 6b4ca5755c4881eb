"""The facts of an exchange account and its key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

Environment = Literal["LIVE", "DEMO", "TESTNET", "SANDBOX"]


@dataclass(frozen=True, repr=False, slots=True)
class Credentials:
    """An API key and its secret. Never shown, not even in a traceback."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return "Credentials(…)"


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """The answers of query-api, account/info and the position and order lists.

    `permissions`: the permissions of each group that are not empty, as the exchange names them. `addresses`: those
    that the key is bound to; empty: any. `expires_at` None: it does not expire. `hedge_symbols`: the symbols whose
    position mode is not one-way, as far as the exchange lists them.
    """

    uid: str
    parent_uid: str | None
    is_read_only: bool
    is_third_party: bool
    permissions: Mapping[str, tuple[str, ...]]
    addresses: tuple[str, ...]
    expires_at: datetime | None
    days_left: int | None  # until a key without a bound address expires
    is_unified: bool
    margin_mode: str  # REGULAR_MARGIN, ISOLATED_MARGIN, PORTFOLIO_MARGIN
    rejects_beyond_band: bool  # lpaPerp: a limit order beyond the price band is refused instead of moved
    pays_fees_in_mnt: bool  # fmsef
    is_delta_neutral: bool
    kyc_region: str
    hedge_symbols: tuple[str, ...] = ()
    balance: Decimal = Decimal(0)  # of the settle coin
    open_positions: tuple[str, ...] = field(default=())  # symbols
    open_orders: tuple[str, ...] = field(default=())  # symbols
