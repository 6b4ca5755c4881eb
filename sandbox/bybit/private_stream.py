"""`/v5/private`: orders, executions, positions and wallet of the account that logged in."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sandbox.bybit import account_messages, order_messages
from sandbox.bybit.clock import Clock
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.rows import Change, ExecutionRow, OrderRow, PositionRow, WalletRow
from sandbox.bybit.messages import Json, ack
from sandbox.bybit.signing import Authentication
from sandbox.bybit.sockets import Connection, SocketServer

CATEGORIES = ("linear", "inverse", "spot", "option")
WITH_CATEGORY = ("order", "execution", "position", "execution.fast")
TOPICS = (*WITH_CATEGORY, "wallet")
HELD_AT_MOST_S = 2.0  # a message that waits to be overtaken


@dataclass
class Disturbance:
    """An injected fault: the next `count` changes of an account and topic are sent twice, or overtaken by the next.

    None: of every account, of every topic.
    """

    kind: str
    count: int = 1
    account: str | None = None
    topic: str | None = None
    held: Change | None = None

    def takes(self, change: Change) -> bool:
        return (
            self.count > 0
            and (self.account is None or self.account == change.uid)
            and (self.topic is None or self.topic == change.topic)
        )


class PrivateStream(SocketServer):
    """Each change of an account is one message to each of its connections."""

    def __init__(self, clock: Clock, authentication: Authentication, admits: Callable[[str], bool]) -> None:
        super().__init__(admits)
        self._clock = clock
        self._authentication = authentication
        self._muted: set[str | None] = set()
        self._disturbances: list[Disturbance] = []
        self._of_account: dict[str, list[Connection]] = {}

    def connections(self, uid: str | None = None) -> list[Connection]:
        """Return those of an account, without a search through thousands, or all."""
        if uid is None:
            return super().connections()
        self._of_account[uid] = [each for each in self._of_account.get(uid, ()) if each.is_open]
        return self._of_account[uid]

    def subscriptions(self) -> dict[str, list[str]]:
        """Return the topics of each account that is connected."""
        found: dict[str, set[str]] = {}
        for connection in self._connections:
            if connection.key is not None:
                found.setdefault(connection.key.uid, set()).update(connection.topics)
        return {uid: sorted(topics) for uid, topics in found.items()}

    def mute(self, uid: str | None) -> None:
        """Push nothing to an account, or to any; the connections stay open."""
        self._muted.add(uid)

    def unmute(self, uid: str | None) -> None:
        self._muted = self._muted - {uid} if uid else set()

    def disturb(self, disturbance: Disturbance) -> None:
        self._disturbances.append(disturbance)

    def push(self, change: Change) -> None:
        disturbance = next((each for each in self._disturbances if each.takes(change)), None)
        if disturbance is None:
            self._send(change)
        elif disturbance.kind == "duplicate":
            disturbance.count -= 1
            self._send(change)
            self._send(change)
        elif disturbance.held is None:
            disturbance.held = change
            asyncio.get_running_loop().call_later(HELD_AT_MOST_S, self._release, disturbance)
        else:
            self._send(change)
            self._release(disturbance)
        self._disturbances = [each for each in self._disturbances if each.count > 0]

    def _release(self, disturbance: Disturbance) -> None:
        if disturbance.held is not None:
            held, disturbance.held = disturbance.held, None
            disturbance.count -= 1
            self._send(held)

    def _send(self, change: Change) -> None:
        if None in self._muted or change.uid in self._muted:
            return
        for connection in self.connections(change.uid):
            for topic in connection.topics:
                row = _row(topic, change)
                if row is not None:
                    now_ms = self._clock.market_ms
                    connection.send(account_messages.push(topic, change.uid, change.seq, now_ms, [row]))

    async def _operate(
        self, connection: Connection, operation: str, request_id: str, request: Mapping[str, object]
    ) -> None:
        if operation != "auth":
            await super()._operate(connection, operation, request_id, request)
            return
        if connection.key is not None:
            self._acknowledge(connection, operation, request_id, "Repeat auth")
            return
        try:
            connection.key = self._authentication.check_login(request.get("args"), connection.address)
        except Refusal as refusal:
            self._acknowledge(connection, operation, request_id, refusal.message)
        else:
            self._of_account.setdefault(connection.key.uid, []).append(connection)
            self._acknowledge(connection, operation, request_id)

    def _acknowledge(self, connection: Connection, operation: str, request_id: str, fault: str = "") -> None:
        message = ack(operation, request_id, connection.id, ok=not fault, message=fault)
        if not request_id:
            del message["req_id"]
        connection.send(message)

    def _greet(self, connection: Connection, topics: Sequence[str]) -> None:
        """A private stream begins with the next change."""

    def _pong(self, connection: Connection, request_id: str) -> Json:
        return {
            "req_id": request_id,
            "op": "pong",
            "args": [str(self._clock.wall_ms)],
            "conn_id": connection.id,
        }

    def _refusal(self, connection: Connection, topics: Sequence[str]) -> str:
        if connection.key is None:
            return "Request not authorized"
        for topic in topics:
            name, _, category = topic.rpartition(".")
            if topic not in TOPICS and not (name in WITH_CATEGORY and category in CATEGORIES):
                return f"error:handler not found,topic:{topic}"
        if len({topic in TOPICS for topic in topics}) > 1:
            return "Params Error"  # all-in-one and categorised topics in one request
        return ""


def _row(topic: str, change: Change) -> Json | None:
    """Return what a topic has of a change, or None if that is not its subject."""
    name = topic.removesuffix(".linear")
    match change.row:
        case OrderRow() as row if name == "order":
            return order_messages.order_push(row)
        case ExecutionRow() as row if name == "execution":
            return order_messages.execution_push(row)
        case ExecutionRow() as row if name == "execution.fast" and row.exec_type == "Trade":
            return order_messages.fast_execution_push(row)
        case PositionRow() as row if name == "position":
            return account_messages.position_push(row)
        case WalletRow() as row if name == "wallet":
            return account_messages.wallet(row)
    return None
