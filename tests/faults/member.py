"""A service of one table, as a process that can be killed: `python -m tests.faults.member --only consumers`.

Each event it consumes becomes a row, in the order of consumption, so that effects are counted by plain SQL.
`FAILING_USER` makes the handler fail for that tenant while a file of that name exists.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from shared.chassis.events.handlers import EventHandler
from shared.chassis.postgres import Connection
from shared.chassis.service import run
from shared.chassis.service_types import Context, Service
from shared.chassis.settings import ServiceSettings
from shared.contracts.envelope import Event
from shared.contracts.notifications import AlertTriggered
from shared.contracts.trading import TradeClosed

FAILING = "FAILING_USER"
TABLE = """
    CREATE TABLE analytics.heard (
        id bigint GENERATED ALWAYS AS IDENTITY, user_id bigint NOT NULL, object_id uuid NOT NULL,
        aggregate_seq bigint NOT NULL, PRIMARY KEY (user_id, id)
    );
    CREATE TABLE analytics.counters (
        user_id bigint NOT NULL, aggregate text NOT NULL, seq bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (user_id, aggregate)
    );
    SET search_path = analytics;
    CALL tenant_table('heard', app => '', worker => 'SELECT, INSERT');
    CALL tenant_table('counters', app => 'SELECT, UPDATE', worker => '');
"""


class MemberSettings(ServiceSettings):
    service: str = "analytics"


async def on_trade_closed(connection: Connection, events: Sequence[TradeClosed]) -> None:
    failing = Path(os.environ.get(FAILING, "/nowhere"))
    if failing.exists() and any(str(event.user_id) == failing.read_text() for event in events):
        raise RuntimeError("this tenant fails for now")
    await _note(connection, [(event, event.trade_id) for event in events])


async def on_alert_triggered(connection: Connection, events: Sequence[AlertTriggered]) -> None:
    await _note(connection, [(event, event.alert_id) for event in events])


async def _note(connection: Connection, events: Sequence[tuple[Event, object]]) -> None:
    await connection.execute(
        """
        INSERT INTO heard (user_id, object_id, aggregate_seq)
        SELECT u, o, s FROM unnest($1::bigint[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS n (u, o, s, place)
        ORDER BY place
        """,
        [event.user_id for event, _ in events],
        [object_id for _, object_id in events],
        [event.aggregate_seq for event, _ in events],
    )


def build(_: Context) -> Service:
    trades, alerts = EventHandler(TradeClosed, on_trade_closed), EventHandler(AlertTriggered, on_alert_triggered)
    return Service("analytics", handlers=[trades, alerts])


if __name__ == "__main__":
    run(build, MemberSettings)
