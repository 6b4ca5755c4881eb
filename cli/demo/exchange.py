"""The sandbox exchange during the replay: what it has executed, and whether the live sessions stand still."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg

from cli.demo.scenario import DemoTenant
from cli.session import describe_difference, read_record
from sandbox.bybit.client import SandboxClient
from sandbox.bybit.messages import Json
from services.trading.operations.verify_session import verify

# `unsettled`: intents that are not with the exchange; of symbols with an open bar, all but targets: there nothing
# else rests. An entry that reverses a position is sent when the exit, which rests until the next open, has filled.
STATE = """
    SELECT (SELECT count(DISTINCT execution_id) FROM trading.executions) AS booked,
           (SELECT count(*) FROM trading.user_trading_sessions
            WHERE NOT is_paper_trading AND status <> 'STOPPED') AS running,
           (SELECT count(*) FROM trading.order_intents AS i
            WHERE (state IN ('INTENT', 'SENDING', 'UNKNOWN') AND NOT (
                      leg = 'entry' AND state = 'INTENT' AND EXISTS (
                          SELECT FROM trading.order_intents AS e
                          WHERE e.session_id = i.session_id AND e.leg = 'exit' AND e.state = 'ACKED')))
                OR (state IN ('ACKED', 'PARTIALLY_FILLED') AND symbol = ANY ($1::text[])
                    AND leg NOT LIKE 'target-%')) AS unsettled
"""
STOPPING = "SELECT count(*) FROM trading.user_trading_sessions WHERE status = 'STOPPING'"
METRICS = [("name[]", f"trading_live_sessions_{name}") for name in ("running", "busy")]
METRIC = re.compile(r"^trading_live_sessions_(running|busy) (\S+)$", re.MULTILINE)


class ExchangeLedger:
    """The executions and the orders of the sandbox, read as they come."""

    def __init__(self, sandbox: SandboxClient) -> None:
        self._sandbox = sandbox
        self._last = {"execution": 0, "order": 0}
        self.executions: list[Json] = []
        self.order_ids: dict[str, set[str]] = {}  # by link id

    async def read(self) -> None:
        """Read what is new. The sandbox looks through all its entries for that."""
        self.executions += await self._new("execution")
        for order in await self._new("order"):
            if order["order_link_id"]:
                self.order_ids.setdefault(str(order["order_link_id"]), set()).add(str(order["order_id"]))

    async def _new(self, kind: str) -> list[Json]:
        found = await self._sandbox.ledger(kind, since=self._last[kind])
        if found:
            self._last[kind] = int(str(found[-1]["seq"]))
        return found

    async def read_executions(self) -> int:
        """Return how many there are; read them if there are new ones."""
        count = int(str((await self._sandbox.state())["executions"]))
        if count != len(self.executions):
            await self.read()
        return count

    async def unfinished_accounts(self) -> list[str]:
        """Return the accounts that have an open order or a position."""
        accounts = await self._sandbox.control("GET", "accounts")
        assert isinstance(accounts, list), "the sandbox lists accounts"
        return [str(account["uid"]) for account in accounts if account["open_orders"] or account["positions"]]


class LiveSessions:
    """Counts the live sessions that have something to do. `metrics_url`: of the worker that runs them."""

    def __init__(
        self, owner: asyncpg.Connection, http: aiohttp.ClientSession, ledger: ExchangeLedger, metrics_url: str
    ) -> None:
        self._owner = owner
        self._http = http
        self.ledger = ledger
        self._metrics_url = metrics_url
        self.waits_for = ""  # as of the last count
        self._settled = -1  # executions when nothing was left to do

    def is_concerned(self, state: Mapping[str, object]) -> bool:
        """Return whether live sessions may have something to do: not at an open at which nothing was executed."""
        return bool(state["stands_at_close"]) or state["executions"] != self._settled

    async def count_busy(self, state: Mapping[str, Any]) -> int:
        """Return how much is to be done before the market may move; `state`: of the sandbox.

        The metric is read last: it is 0 only when all that was committed before is on the exchange.
        """
        open_symbols = [symbol for symbol, at in state["symbols"].items() if at["open_ms"] is not None]
        stored = await self._owner.fetchrow(STATE, open_symbols)
        if stored["unsettled"]:
            self.waits_for = "orders that are not settled"
            return int(stored["unsettled"])
        executed = await self.ledger.read_executions()
        if unbooked := executed - int(stored["booked"]):
            self.waits_for = "executions that are not booked"
            return abs(unbooked)
        running, busy = await self._metrics()
        idle_missing = abs(int(stored["running"]) - running)
        self.waits_for = f"{busy} busy live sessions, {idle_missing} that do not run"
        if not busy + idle_missing:
            self._settled = executed
        return busy + idle_missing

    async def count_stopping(self) -> int:
        return int(await self._owner.fetchval(STOPPING))

    async def _metrics(self) -> tuple[int, int]:
        """Return the live sessions that run, and how many are busy; none run while the worker does not answer."""
        try:
            async with self._http.get(self._metrics_url, params=METRICS) as answer:
                found = {name: int(float(value)) for name, value in METRIC.findall(await answer.text())}
        except aiohttp.ClientError:
            return 0, 0
        return found.get("running", 0), found.get("busy", 0)


async def verify_sessions(dsn: str, tenants: Sequence[DemoTenant]) -> str:
    """Run `session verify` on each session of these tenants, and ask for its drift; returns the first difference,
    empty if there is none."""
    for tenant, session in [(each, session) for each in tenants for session in each.sessions]:
        verification = verify(await read_record(dsn, UUID(session.session_id)))
        if not verification.holds:
            return f"session {session.session_id}: {describe_difference(verification)}"
        drift = await tenant.must("GET", f"/v1/sessions/{session.session_id}/drift")
        if drift["sums"]["gap"] != "0" or len(drift["trades"]) != len(verification.trades):
            return f"session {session.session_id}: drifts by {drift['sums']['gap']}"
    return ""


async def compare(owner: asyncpg.Connection, ledger: ExchangeLedger) -> Sequence[tuple[str, str, str]]:
    """Compare the exchange's record with the platform's. Returns checks with their fault, empty if there is none,
    and the observation."""
    await ledger.read()
    intents = {
        row["link_id"]: row["order_id"]
        for row in await owner.fetch("SELECT link_id, order_id FROM trading.order_intents")
    }
    doubled = [link for link, orders in ledger.order_ids.items() if len(orders) > 1 or link not in intents]
    lost = [link for link, order in intents.items() if order and ledger.order_ids.get(link) != {order}]
    booked = await owner.fetch(
        """
        SELECT e.execution_id, count(f.execution_id) AS fills FROM trading.executions e
        LEFT JOIN trading.fills f USING (user_id, execution_id)
        GROUP BY e.user_id, e.execution_id
        """
    )
    executed = sorted(str(row["exec_id"]) for row in ledger.executions)
    wrong = "" if sorted(row["execution_id"] for row in booked) == executed else "not the exchange's executions"
    repeated = [row["execution_id"] for row in booked if row["fills"] != 1]
    left = await ledger.unfinished_accounts()
    sent = f"{len(ledger.order_ids)} orders of {len(intents)} intents"
    return [
        ("one_order_per_intent", f"{doubled + lost}" if doubled or lost else "", sent),
        ("executions_booked_once", wrong or (f"{repeated}" if repeated else ""), f"{len(executed)} executions"),
        ("exchange_accounts_flat", f"accounts {', '.join(left)}" if left else "", "no position and no open order"),
    ]
