"""The objects that tenants create: the table of each kind, and how sent values compare with stored ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation

from faults.calls import Call, Json
from faults.checker.database import Connection


@dataclass(frozen=True)
class Kind:
    """A kind of object and its table.

    `columns` maps body fields to columns of another name, or to None if there is no such column.
    `alive` is an SQL condition that holds for rows that were not removed, for kinds whose removal keeps the row.
    """

    name: str
    table: str
    id_column: str
    path: str
    columns: Mapping[str, str | None] = field(default_factory=dict)
    alive: str = "true"

    @property
    def made_by(self) -> str:
        return f"POST {self.path}"

    def column_of(self, name: str) -> str | None:
        return self.columns.get(name, name)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("user", "auth.users", "public_id", "/v1/auth/register", {"password": None}),
        Kind("strategy", "trading.user_strategies", "strategy_id", "/v1/strategies", alive="is_active"),
        Kind(
            "configuration",
            "trading.user_bot_configurations",
            "bot_configuration_id",
            "/v1/bot-configurations",
            {"is_default": None},  # another may have become the default
        ),
        Kind(
            "session",
            "trading.user_trading_sessions",
            "session_id",
            "/v1/sessions",
            {"mode": None, "version": "strategy_version"},
        ),
        Kind("alert", "notifications.user_alerts", "alert_id", "/v1/alerts"),
        Kind("watch", "analytics.watchlist", "watch_id", "/v1/watchlist"),
        Kind("account", "trading.exchange_accounts", "exchange_account_id", "/v1/exchange-accounts"),
    )
}
BY_PATH = {kind.path: kind for kind in KINDS.values()}


@dataclass(frozen=True)
class StoredRow:
    """A stored row. `tenant` is the public id of its owner."""

    id: str
    tenant: str
    alive: bool
    row: Json


async def stored_things(connection: Connection, kind: Kind) -> dict[str, StoredRow]:
    """Return all stored objects of the kind, by id."""
    rows = await connection.fetch(
        f"""
        SELECT thing.{kind.id_column}::text AS id, owner.public_id::text AS tenant, ({kind.alive}) AS alive,
               to_jsonb(thing) AS row
        FROM {kind.table} AS thing
             JOIN (SELECT user_id AS owner_id, public_id FROM auth.users) AS owner ON owner_id = user_id
        """
    )
    return {row["id"]: StoredRow(**row) for row in rows}


def target_of(call: Call) -> tuple[Kind, str, str] | None:
    """Return the object that a path addresses: kind, id, and the verb after it (`stop`, `versions`) or ""."""
    parts = call.path.partition("?")[0].strip("/").split("/")
    kind = BY_PATH.get("/" + "/".join(parts[:2]))
    if kind is None or not 3 <= len(parts) <= 4:
        return None
    return kind, parts[2], parts[3] if len(parts) == 4 else ""


def values_of(kind: Kind, call: Call) -> Iterator[tuple[str, object]]:
    """Yield column and value of each field sent. Documents are taken from the answer, which has the stored form."""
    answer = call.answer or {}
    shown: Json = answer.get("user", answer) if kind.name == "user" else answer
    for name, value in (call.sent or {}).items():
        column = kind.column_of(name)
        if column is not None:
            structured = isinstance(value, dict | list)
            yield column, shown.get(name, value) if structured else value


def agrees(sent: object, stored: object) -> bool:
    """Compare by meaning: "1.50" equals 1.5, and a time is equal in any time zone."""
    if isinstance(sent, Mapping) and isinstance(stored, Mapping):
        return sent.keys() == stored.keys() and all(agrees(sent[name], stored[name]) for name in sent)
    if isinstance(sent, list) and isinstance(stored, list):
        return len(sent) == len(stored) and all(map(agrees, sent, stored))
    if isinstance(sent, bool) or isinstance(stored, bool) or sent is None or stored is None:
        return sent is stored
    return _plain(sent) == _plain(stored)


def _plain(value: object) -> object:
    text = str(value).strip()
    try:
        return Decimal(text)
    except InvalidOperation:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text
