"""Wires billing: database to endpoints, event handlers and jobs."""

from services.billing.consumers import EVENT_HANDLERS
from services.billing.jobs import deadlines
from services.billing.routes import Routes
from shared.chassis.service_types import Context, Service


def build(context: Context) -> Service:
    return Service(
        name=context.settings.service,
        endpoints=Routes(context.database).endpoints(),
        handlers=EVENT_HANDLERS,
        jobs=[deadlines(context.database)],
    )
