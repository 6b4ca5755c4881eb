"""A small world in which every invariant holds: tables filled by plain SQL, and the ledgers of the run."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from faults.calls import Call, CallLedger, CreatedObject

ANN, BOB = "019c0000-0000-7000-8000-0000000000a1", "019c0000-0000-7000-8000-0000000000b2"
CAT = "019c0000-0000-7000-8000-0000000000c3"
PUBLIC_IDS = {1: ANN, 2: BOB, 3: CAT}
CANARIES = {ANN: "canaryofann", BOB: "canaryofbob"}
WORLD = Path(__file__).with_name("world.sql")
CONSUMERS = {
    "user.registered": ("billing", "analytics", "notifications"),
    "subscription.changed": ("auth", "trading", "analytics", "notifications"),
    "session.started": ("analytics", "notifications"),
    "session.stopped": ("analytics", "notifications"),
    "trade.opened": ("notifications",),
    "trade.closed": ("analytics", "billing", "notifications"),
    "alert.triggered": ("notifications",),
    "activity.recorded": ("auth",),
    "usage.recorded": ("billing",),
}
SENDERS = {
    "user": "auth",
    "activity": "auth",
    "subscription": "billing",
    "quota": "billing",
    "session": "trading",
    "trade": "trading",
}
PREMIUM = {"max_trades_per_month": 1000, "max_active_strategies": 5, "max_symbols": None}

Json = dict[str, Any]


def uid(text: str) -> str:
    """Expand a short id: `a100` → 019c0000-0000-7000-8000-00000000a100."""
    return f"019c0000-0000-7000-8000-{text:0>12}"


@dataclass
class World:
    """The tables and ledgers that a run leaves behind; tests spoil them before the check."""

    connection: asyncpg.Connection
    messages: list[Json] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    shown: list[Json] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    settled: Json | None = None
    exchange: list[Json] = field(default_factory=list)
    explained: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _offsets: Counter[tuple[str, int]] = field(default_factory=Counter)

    async def sql(self, statement: str, *values: object) -> None:
        """Run a statement without foreign keys: a fault may leave rows that break them."""
        await self.connection.execute("SET session_replication_role = replica")
        if values:
            await self.connection.execute(statement, *values)
        else:
            await self.connection.execute(statement)

    async def publish(self, topic: str, user_id: int, aggregate: str, seq: int, **data: object) -> str:
        """Write, send and consume an event, by every consumer of its topic. Return the event's id."""
        service = SENDERS.get(topic.partition(".")[0], "notifications")
        event_id = uid(f"e{next(self._numbers):04}")
        body = {"user_id": user_id, "public_id": PUBLIC_IDS[user_id], "aggregate": aggregate, "aggregate_seq": seq}
        value = json.dumps({**body, **data}, separators=(",", ":"))
        headers = {"ce_id": event_id, "ce_source": service, "ce_type": topic}
        await self.sql(
            f"""
            INSERT INTO {service}.outbox (user_id, bucket, event_id, topic, key, headers, payload, sent_at)
            VALUES ($1, 0, $2, $3, $4, $5, $6, now())
            """,
            user_id,
            event_id,
            topic,
            str(user_id),
            json.dumps(headers),
            value.encode(),
        )
        self.put(topic, user_id, headers, value)
        for consumer in CONSUMERS.get(topic, ()):
            await self.sql(
                f"INSERT INTO {consumer}.inbox (user_id, consumer, event_id, body_sha256) VALUES ($1, $2, $3, $4)",
                user_id,
                consumer,
                event_id,
                hashlib.sha256(value.encode()).digest(),
            )
        return event_id

    def put(self, topic: str, user_id: int, headers: Json, value: str) -> Json:
        """Put a message on the topic only."""
        offset = self._offsets[topic, user_id]
        self._offsets[topic, user_id] += 1
        message = {"topic": topic, "partition": user_id, "offset": offset, "key": str(user_id)}
        self.messages.append({**message, "headers": headers, "value": value})
        return self.messages[-1]

    def call(self, operation: str, id_: str = "", kind: str = "", **more: Any) -> Call:
        """Record a call. `id_` is the object it is about or, if `kind` is given, the one it created."""
        method, _, template = operation.partition(" ")
        ok = more.get("outcome", "ok") == "ok"
        call = Call(
            n=len(self.calls) + 1,
            at="2026-01-31T09:00:00+00:00",
            tenant=more.get("tenant", ANN),
            operation=operation,
            path=template.replace("{id}", id_),
            idempotency_key=more.get("key", f"key-{len(self.calls) + 1}" if kind else None),
            outcome=more.get("outcome", "ok"),
            status={"POST": 201, "DELETE": 204}.get(method, 200) if ok else more.get("status"),
            request_id=f"request-{len(self.calls) + 1}",
            made=CreatedObject(kind, id_) if kind and ok else None,
            sent=more.get("sent"),
            answer=more.get("answer", {}) if ok else None,
        )
        self.calls.append(call)
        return call

    def message(self, topic: str, number: int = 0) -> Json:
        """Return the nth message of a topic."""
        return [message for message in self.messages if message["topic"] == topic][number]

    def write(self, folder: Path) -> Path:
        ledger = CallLedger(folder / "calls.jsonl")
        for call in self.calls:
            ledger.note(call)
        ledger.close()
        for name, lines in (("topics", self.messages), ("canaries", self.shown), ("exchange", self.exchange)):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "logs").mkdir()
        for name, text in self.logs.items():
            (folder / "logs" / f"{name}.log").write_text(text)
        if self.settled is not None:
            (folder / "settled.json").write_text(json.dumps(self.settled))
        if self.explained:
            (folder / "explained.json").write_text(json.dumps(self.explained))
        return folder


async def build(connection: asyncpg.Connection) -> World:
    world = World(connection)
    await connection.execute("SET TimeZone = 'UTC'")
    await world.sql(WORLD.read_text())
    await _add_events(world)
    _add_calls(world)
    world.shown = [
        {"tenant": tenant, "canary": canary, "where": "GET /v1/me", "text": f'{{"note": "{canary}"}}'}
        for tenant, canary in CANARIES.items()
    ]
    world.logs = {"auth-http": '{"event": "request", "password": "[redacted]"}\n{"event": "stopped"}\n'}
    world.exchange = _on_exchange()
    world.settled = {
        "ready": {"auth-http": True, "kafka": True},
        "lag": {"analytics/trade.closed": 0},
        "seconds": 3.5,
        "limit_s": 120.0,
    }
    return world


async def _add_events(world: World) -> None:
    for user_id, public_id in PUBLIC_IDS.items():
        await world.publish("user.registered", user_id, f"user:{public_id}", 1, email="a@example.org")
    for user_id, version, plan in ((1, 1, "FREE"), (1, 2, "PREMIUM"), (2, 1, "PREMIUM"), (3, 1, "PREMIUM")):
        await world.publish(
            "subscription.changed",
            user_id,
            f"subscription:{PUBLIC_IDS[user_id]}",
            version,
            subscription_version=version,
            plan=plan,
            limits=PREMIUM,
        )
    for user_id, session in ((1, "a100"), (2, "b100"), (3, "c100")):
        await world.publish("session.started", user_id, f"session:{uid(session)}", 1, session_id=uid(session))
    await _publish_trade(world, 1, "a100", 2, "a1001", "2", "100", ("110", "19.769", "9.8845", "0.231"))
    await _publish_trade(world, 1, "a100", 4, "a1002", "1", "110", ("105", "-5.11825", "-4.65295455", "0.11825"))
    await _publish_trade(world, 2, "b100", 2, "b1001", "1", "100", ("90", "9.8955", "9.8955", "0.1045"))
    await _publish_trade(world, 2, "b100", 4, "b1002", "2", "95", None)
    await _publish_trade(world, 3, "c100", 2, "c1001", "3", "100", None)
    await world.publish("session.stopped", 1, f"session:{uid('a100')}", 6, session_id=uid("a100"))
    for seq, minute in ((1, "15"), (2, "30")):
        await world.publish(
            "alert.triggered",
            1,
            f"alert:{uid('a300')}",
            seq,
            alert_id=uid("a300"),
            open_time=f"2026-01-31T09:{minute}:00.000Z",
            channels=["dashboard"],
        )
    refusals = [{"operation": "GET /v1/alerts", "count": 2}, {"operation": "GET /v1/inbox", "count": 1}]
    for number, (kind, requests, refused) in enumerate((("trading", 5, []), ("other", 7, refusals)), 1):
        await world.publish(
            "usage.recorded",
            1,
            f"usage:{uid('a400')}:1:{ANN}",
            number,
            lease_id=uid("a400"),
            kind=kind,
            count=requests,
            window=1,
            refusals=refused,
        )
    await world.publish("quota.changed", 1, f"quota:{ANN}", 1, quota_version=1, state="EXHAUSTED")
    candle = {"symbol": "BTCUSDT", "interval": "15", "generation": 1, "open_time": "2026-01-31T10:00:00.000Z"}
    prices = {"open": "95", "high": "96", "low": "94", "close": "95.5", "volume": "12.25"}
    closed = world.put("candle.closed", 0, {"ce_id": uid("c001")}, json.dumps({**candle, **prices}))
    closed["key"] = "bybit:BTCUSDT"


async def _publish_trade(
    world: World,
    user_id: int,
    session: str,
    seq: int,
    trade: str,
    quantity: str,
    price: str,
    end: tuple[str, str, str, str] | None,
) -> None:
    data = {"trade_id": uid(trade), "session_id": uid(session), "quantity": quantity, "entry_price": price}
    await world.publish("trade.opened", user_id, f"session:{uid(session)}", seq, **data)
    if end is not None:
        names = ("exit_price", "pnl", "pnl_percentage", "fee")
        ended = dict(zip(names, end, strict=True))
        await world.publish("trade.closed", user_id, f"session:{uid(session)}", seq + 1, **data, **ended)


def _add_calls(world: World) -> None:
    for tenant, name, zone, language in ((ANN, "ann", "Europe/Rome", "it"), (BOB, "bob", "UTC", "en")):
        account = {"email": f"{name}@example.org", "timezone": zone, "language": language}
        world.call("POST /v1/auth/register", tenant, "user", tenant=tenant, sent=account, answer={"user": account})
    first = _document("Crossing 1", "fast")
    world.call(
        "POST /v1/strategies", uid("a001"), "strategy", sent=first, answer=_version("a001", 1, "hash-1", first)
    )
    second = _document("Crossing 2", "fast")
    versions = "POST /v1/strategies/{id}/versions"
    world.call(versions, uid("a001"), sent=second, answer=_version("a001", 2, "hash-2", second))
    limits = {"config_name": "limits", "config_data": {"note": "mine"}, "max_position_size": "1000.5"}
    world.call("POST /v1/bot-configurations", uid("a002"), "configuration", sent=limits, answer=limits)
    _session(world, ANN, "a100", "a001", "10000", key="key-of-a100", outcome="unknown")
    _session(world, ANN, "a100", "a001", "10000.00", key="key-of-a100")
    world.call("POST /v1/sessions/{id}/stop", uid("a100"), outcome="unknown", sent={})
    world.call("POST /v1/sessions/{id}/stop", uid("a100"), sent={})
    for alert, name, op, value in (("a300", "first", "above", "100"), ("a301", "another", "below", "1")):
        body = {"alert_name": name, "symbol": "BTCUSDT", "condition_data": {"op": op, "value": value}}
        world.call("POST /v1/alerts", uid(alert), "alert", key=f"key-of-{alert}", sent=body, answer=body)
    world.call("PATCH /v1/alerts/{id}", uid("a300"), sent={"alert_name": "renamed"})
    for watch, period in (("a200", 20), ("a201", 30)):
        watched = {"symbol": "BTCUSDT", "interval": "15", "ema_period": period}
        world.call("POST /v1/watchlist", uid(watch), "watch", sent=watched, answer=watched)
    world.call("DELETE /v1/watchlist/{id}", uid("a201"))
    fading = _document("Fading", "slow")
    answer = _version("b001", 1, "hash-b", fading)
    world.call("POST /v1/strategies", uid("b001"), "strategy", tenant=BOB, sent=fading, answer=answer)
    _session(world, BOB, "b100", "b001", "500.5")
    world.call("POST /v1/sessions/{id}/pause", uid("b100"), tenant=BOB)
    body = {"alert_name": "of Bob", "symbol": "BTCUSDT"}
    world.call("POST /v1/alerts", uid("b300"), "alert", tenant=BOB, sent=body, answer=body)
    _add_calls_of_cat(world)


def _add_calls_of_cat(world: World) -> None:
    account = {"email": "cat@example.org", "timezone": "UTC", "language": "en"}
    world.call("POST /v1/auth/register", CAT, "user", tenant=CAT, sent=account, answer={"user": account})
    document = _document("Live", "fast")
    answer = _version("c001", 1, "hash-c", document)
    world.call("POST /v1/strategies", uid("c001"), "strategy", tenant=CAT, sent=document, answer=answer)
    bots = {"account_name": "bots", "environment": "SANDBOX"}
    world.call("POST /v1/exchange-accounts", uid("c500"), "account", tenant=CAT, sent=bots, answer=bots)
    _session(world, CAT, "c100", "c001", "1000")


def _on_exchange() -> list[Json]:
    orders = [
        ("o1", "link-1", "Buy", "PartiallyFilled", "1"),
        ("o1", "link-1", "Buy", "Filled", "3"),
        ("o2", "link-2", "Sell", "Filled", "1"),
        ("o3", "link-3", "Sell", "New", "0"),
    ]
    executions = [("x1", "link-1", "Buy", "1"), ("x2", "link-1", "Buy", "2"), ("x3", "link-2", "Sell", "1")]
    entries: list[Json] = [
        *(
            {"kind": "order", "seq": seq, "order_id": id_, "order_link_id": link, "side": side}
            | {"order_status": status, "cum_exec_qty": filled}
            for seq, (id_, link, side, status, filled) in enumerate(orders)
        ),
        *(
            {"kind": "execution", "exec_id": id_, "order_link_id": link, "side": side}
            | {"exec_qty": qty, "exec_price": "100.0", "exec_fee": "0"}
            for id_, link, side, qty in executions
        ),
        {"kind": "positions", "side": "Buy", "size": "2", "stop_loss": "90"},
        {"kind": "open_orders", "order_id": "o3", "order_link_id": "link-3", "side": "Sell"},
    ]
    return [{**entry, "uid": "700", "symbol": "BTCUSDT"} for entry in entries]


def _session(world: World, tenant: str, session: str, strategy: str, balance: str, **more: Any) -> None:
    body = {"strategy_id": uid(strategy), "symbol": "BTCUSDT", "mode": "PAPER", "initial_balance": balance}
    world.call("POST /v1/sessions", uid(session), "session", tenant=tenant, sent=body, answer=body, **more)


def _document(name: str, left: str) -> Json:
    return {
        "strategy_name": name,
        "strategy_config": {"interval": "15"},
        "entry_conditions": {"left": left},
        "risk_management": {},
    }


def _version(strategy: str, version: int, content: str, document: Json) -> Json:
    return {"strategy_id": uid(strategy), "version": version, "content_hash": content, **document}
