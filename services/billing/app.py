"""The wiring of billing."""

from functools import partial

from services.billing.consumers import SUBSCRIPTIONS
from services.billing.jobs import run_deadlines
from services.billing.routes import Routes
from shared.chassis.service_types import Context, Job, Service


def build(context: Context) -> Service:
    return Service(
        name=context.settings.service,
        endpoints=Routes(context.database).endpoints(),
        subscriptions=SUBSCRIPTIONS,
        jobs=[Job("deadlines", partial(run_deadlines, context.database))],
    )
