"""`/v1/kill-switches`: stop entries of a session, or of all, at once. Never metered and never refused."""

from typing import Literal
from uuid import UUID

from services.trading.operations.kill_switch import lift, switch_on
from services.trading.queries import kill_switches
from services.trading.queries.kill_switches import SwitchRow
from services.trading.venue_clock import VenueClock
from shared.chassis.errors import require_found
from shared.chassis.http.app import Call
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.examples import example
from shared.contracts.texts import Text
from shared.contracts.types import BodyModel, Flag, Id, Instant, ViewModel

PATH = "/v1/kill-switches"


class SwitchBody(BodyModel):
    """Without `session_id`, all your sessions. `flatten` also cancels the orders and closes the positions of live
    sessions on the exchange; without it, exits, stops and targets continue."""

    model_config = example(session_id=None, flatten=False, reason="Something is wrong")

    session_id: Id | None = None
    flatten: bool = False
    reason: Text | None = None


class SwitchesQuery(ListQuery):
    orders = kill_switches.ORDERS

    is_on: Flag | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class SwitchView(ViewModel):
    """`session_id` null: all your sessions. An operator of the platform lifts their own switches."""

    model_config = example(
        session_id=None,
        flatten=False,
        reason="Something is wrong",
        switched_by="TENANT",
        is_on=True,
        lifted_at=None,
    )

    kill_switch_id: UUID
    session_id: UUID | None
    flatten: bool
    reason: str | None
    switched_by: Literal["TENANT", "OPERATOR"]
    is_on: bool
    created_at: Instant
    lifted_at: Instant | None


class KillSwitchRoutes(Routes):
    def __init__(self, database: Database, clock: VenueClock) -> None:
        self._database = database
        self._clock = clock

    @endpoint("POST", PATH, "Switch on: no session of the scope enters from now on", scope="trade")
    async def switch_on(self, call: Call, body: SwitchBody) -> SwitchView:
        """A switch of the same scope that is on stays, and flattens from now on if this request says so."""
        user_id, now = call.principal.user_id, self._clock.last_seen or call.now
        async with call.transaction() as connection:
            row = await switch_on(
                connection, user_id, body.session_id, now, flatten=body.flatten, reason=body.reason
            )
        return _view(row)

    @endpoint("GET", PATH, "List your kill switches, newest first")
    async def list_switches(self, call: Call, query: SwitchesQuery) -> Page[SwitchView]:
        user_id, wanted = call.principal.user_id, query.slice()
        async with self._database.tenant(user_id) as connection:
            rows = await kill_switches.list_switches(connection, user_id, query.is_on, wanted)
        return query.page_of(rows, _view)

    @endpoint("GET", PATH + "/{id}", "Get a kill switch")
    async def get_switch(self, call: Call) -> SwitchView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await kill_switches.find_switch(connection, user_id, call.uuid())
        return _view(require_found(row))

    @endpoint("DELETE", PATH + "/{id}", "Lift a kill switch; repeating it changes nothing", scope="trade")
    async def lift_switch(self, call: Call) -> SwitchView:
        now = self._clock.last_seen or call.now
        async with call.transaction() as connection:
            return _view(await lift(connection, call.principal.user_id, call.uuid(), now))


def _view(row: SwitchRow) -> SwitchView:
    switched_by = "OPERATOR" if row.is_operators else "TENANT"
    return SwitchView.model_validate({**vars(row), "switched_by": switched_by, "is_on": row.lifted_at is None})
