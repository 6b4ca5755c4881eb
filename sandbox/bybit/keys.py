"""API keys: what each may do, from where, and until when."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime

from sandbox.bybit.fields import set_fields
from sandbox.bybit.messages import DAY_MS, Json

DAYS_WITHOUT_ADDRESS = 90  # a key that is bound to no address expires after so many days
NEVER = "1970-01-01T00:00:00Z"

# Every group of permissions in query-api.
PERMISSION_GROUPS = (
    "ContractTrade",
    "Spot",
    "Wallet",
    "Options",
    "Derivatives",
    "CopyTrading",
    "BlockTrade",
    "Exchange",
    "NFT",
    "Affiliate",
    "Earn",
    "FiatP2P",
    "FiatConvertBroker",
    "FiatGlobalPay",
    "FiatBitPay",
    "BitCard",
    "ByXPost",
)
TRADING = {"ContractTrade": ["Order", "Position"], "Spot": ["SpotTrade"], "Derivatives": ["DerivativesTrade"]}


@dataclass
class ApiKey:
    """`type`: 1 personal, 2 third-party application. `expires_ms`: wall time; None: by the 90 days' rule."""

    number: int
    uid: str
    key: str
    secret: str = field(repr=False)
    created_ms: int = 0
    note: str = "sandbox"
    read_only: bool = False
    permissions: Mapping[str, Sequence[str]] = field(default_factory=lambda: TRADING)
    ips: Sequence[str] = ()
    type: int = 1
    expires_ms: int | None = None
    revoked: bool = False
    kyc_region: str = "MYS"
    kyc_level: str = "LEVEL_1"
    uta: int = 1
    vip_level: str = "No VIP"
    is_master: bool = True
    parent_uid: str = "0"

    @property
    def ends_ms(self) -> int | None:
        """Return when the key expires, or None if it never does."""
        if self.expires_ms is None and not self.ips:
            return self.created_ms + DAYS_WITHOUT_ADDRESS * DAY_MS
        return self.expires_ms

    def allows(self, group: str, permission: str) -> bool:
        return permission in self.permissions.get(group, ())


# What `/control/keys` can set.
SETTABLE = {each.name for each in fields(ApiKey)} - {"number", "uid", "key", "secret", "created_ms"}


class KeyRegistry:
    """All keys of all accounts, by the key's public part."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}

    def create(self, uid: str, now_ms: int, facts: Mapping[str, object]) -> ApiKey:
        """Raises ValueError for an unknown fact, one of the wrong type, or a key that exists."""
        chosen = dict(facts)
        name, secret = chosen.pop("api_key", None), chosen.pop("api_secret", None)
        key = ApiKey(
            number=2_208_369 + len(self._keys),
            uid=uid,
            key=str(name or secrets.token_hex(9)),
            secret=str(secret or secrets.token_hex(18)),
            created_ms=now_ms,
        )
        if key.key in self._keys:
            raise ValueError(f"the key {key.key} exists already")
        set_fields(key, chosen, SETTABLE)
        self._keys[key.key] = key
        return key

    def find(self, name: str) -> ApiKey | None:
        return self._keys.get(name)

    def of(self, uid: str) -> list[ApiKey]:
        return [key for key in self._keys.values() if key.uid == uid]


def key_view(key: ApiKey) -> Json:
    """Return a key for `/control`, without its secret."""
    return {each.name: getattr(key, each.name) for each in fields(key) if each.name != "secret"}


def query_api(key: ApiKey, now_ms: int) -> Json:
    """Return the result of `/v5/user/query-api`."""
    ends_ms = key.ends_ms
    return {
        "id": str(key.number),
        "note": key.note,
        "apiKey": key.key,
        "readOnly": int(key.read_only),
        "secret": "",
        "permissions": {
            **{group: list(key.permissions.get(group, ())) for group in PERMISSION_GROUPS},
            **{group: list(names) for group, names in key.permissions.items()},
        },
        "ips": list(key.ips) or ["*"],
        "type": key.type,
        "deadlineDay": -2 if ends_ms is None else (ends_ms - now_ms) // DAY_MS,
        "expiredAt": NEVER if ends_ms is None else _iso(ends_ms),
        "createdAt": _iso(key.created_ms),
        "unified": 0,
        "uta": key.uta,
        "userID": int(key.uid),
        "inviterID": 0,
        "vipLevel": key.vip_level,
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": "",
        "isMaster": key.is_master,
        "parentUid": key.parent_uid,
        "kycLevel": key.kyc_level,
        "kycRegion": key.kyc_region,
        "userIDInt64": key.uid,
        "inviterIDInt64": "0",
        "affiliateIDInt64": "0",
    }


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
