"""Whether this process lives, and whether it can work."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database

Check = Callable[[], Awaitable[str]]


def add_health_routes(app: web.Application, database: Database, checks: list[Check]) -> None:
    """`/healthz`: the loop turns. `/readyz`: database, broker and jobs answer. `/metrics` for Prometheus."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        faults = [fault for check in [_database_check(database), *checks] if (fault := await check())]
        return web.json_response(
            {"status": "unready" if faults else "ready", "faults": faults}, status=503 if faults else 200
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


def _database_check(database: Database) -> Check:
    async def check() -> str:
        try:
            await database.ping()
        except INFRASTRUCTURE_FAULTS:
            return "the database does not answer"
        return ""

    return check
