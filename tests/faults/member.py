"""A service of one table, as a process that can be killed: `python -m tests.faults.member --only consumers`.

Each event it hears becomes a row, in the order in which it was heard, so that effects are counted by plain SQL.
`FAILING_USER` makes the handler fail for that tenant while a file of that name exists.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from shared.chassis.kafka import Subscription
from shared.chassis.postgres import Connection
from shared.chassis.service import run
from shared.chassis.service_types import Context, Service
from shared.chassis.settings import ServiceSettings
from shared.contracts.trading import TradeClosed

FAILING = "FAILING_USER"
TABLE = """
    CREATE TABLE analytics.heard (
        id bigint GENERATED ALWAYS AS IDENTITY, user_id bigint NOT NULL, trade_id uuid NOT NULL,
        aggregate_seq bigint NOT NULL, PRIMARY KEY (user_id, id)
    );
    SET search_path = analytics;
    CALL tenant_table('heard', app => '', worker => 'SELECT, INSERT');
"""


class MemberSettings(ServiceSettings):
    service: str = "analytics"


async def on_trade_closed(connection: Connection, events: Sequence[TradeClosed]) -> None:
    failing = Path(os.environ.get(FAILING, "/nowhere"))
    if failing.exists() and any(str(event.user_id) == failing.read_text() for event in events):
        raise RuntimeError("this tenant fails for now")
    await connection.execute(
        """
        INSERT INTO heard (user_id, trade_id, aggregate_seq)
        SELECT u, t, s FROM unnest($1::bigint[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS n (u, t, s, place)
        ORDER BY place
        """,
        [event.user_id for event in events],
        [event.trade_id for event in events],
        [event.aggregate_seq for event in events],
    )


def build(_: Context) -> Service:
    return Service("analytics", subscriptions=[Subscription(TradeClosed, on_trade_closed)])


if __name__ == "__main__":
    run(build, MemberSettings)
