"""Liveness, readiness and metrics endpoints."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database

ANSWER_WITHIN_S = 2.0

Check = Callable[[], Awaitable[str]]
Parked = Callable[[], Awaitable[list[str]]]


def add_health_routes(app: web.Application, database: Database, checks: list[Check], parked: Parked) -> None:
    """Add `/healthz` (the event loop runs), `/readyz` (database, broker and jobs work) and `/metrics` (Prometheus;
    `?name[]=` for some only, because all take milliseconds).

    `/readyz` lists events parked for an upgrade but stays ready: one message must not take a service out of use.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        faults = [fault for check in [_database_check(database), *checks] if (fault := await check())]
        body = {"status": "unready" if faults else "ready", "faults": faults, "parked": await _shown(parked)}
        return web.json_response(body, status=503 if faults else 200)

    async def metrics(request: web.Request) -> web.Response:
        names = request.query.getall("name[]", [])
        registry = REGISTRY.restricted_registry(names) if names else REGISTRY
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


async def _shown(parked: Parked) -> list[str]:
    """Return an empty list while the database is unavailable: that is reported as a fault of its own."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await parked()
    except INFRASTRUCTURE_FAULTS:
        return []


def _database_check(database: Database) -> Check:
    async def check() -> str:
        try:
            await database.ping()
        except INFRASTRUCTURE_FAULTS:
            return "the database does not answer"
        return ""

    return check
