"""One read of one row in four variants: `python -m benchmarks.http_server <variant> <settings.json>`.

`ours` is on the chassis: metered, not metered (below `/v1/usage`), and without a token; `aiohttp` and `fastapi` are
written directly on those. All read through the same pool and transaction, so that only the HTTP layer differs.
"""

import asyncio
import json
import sys
from pathlib import Path
from uuid import UUID

import jwt
import uvicorn
from aiohttp import web
from fastapi import FastAPI, Header, HTTPException
from jwt import PyJWK
from pydantic import BaseModel

from shared.chassis.auth import Authenticator, TokenVerifier
from shared.chassis.http.app import Call, Endpoint
from shared.chassis.keys import ALGORITHM
from shared.chassis.postgres import Database
from shared.chassis.service import RunningService
from shared.chassis.service_types import Context, Service
from shared.chassis.settings import ServiceSettings
from shared.chassis.telemetry import configure_logging
from shared.contracts.types import Instant

READ = (
    "SELECT watch_id, symbol, interval, ema_period, created_at FROM watchlist WHERE user_id = $1 AND watch_id = $2"
)


class WatchView(BaseModel):
    watch_id: UUID
    symbol: str
    interval: str
    ema_period: int
    created_at: Instant


class Setup:
    """The settings of a variant: database, the key of the tokens, and the only caller."""

    def __init__(self, given: dict[str, object]) -> None:
        self.settings = ServiceSettings.model_validate(given["settings"])
        self.key = PyJWK(dict(given["jwk"]), algorithm=ALGORITHM)  # type: ignore[call-overload]  # a JSON object
        self.user_id = int(str(given["user_id"]))
        self.port = int(str(given["port"]))
        self.database: Database

    async def read(self, user_id: int, watch_id: UUID) -> WatchView:
        async with self.database.tenant(user_id) as connection:
            row = await connection.fetchrow(READ, user_id, watch_id)
        return WatchView.model_validate(dict(row))

    def check(self, authorization: str) -> int:
        """Verify the token at each request, without a cache."""
        token = authorization.removeprefix("Bearer ")
        jwt.decode(token, self.key, algorithms=[ALGORITHM], issuer="tradefleet", audience="tradefleet-api")
        return self.user_id


class _OneKey:
    """A key source with one known key."""

    version = 0

    def __init__(self, key: PyJWK) -> None:
        self._key = key

    async def find(self, _: str) -> PyJWK:
        return self._key


class _OneUser:
    """A user directory with one user."""

    def __init__(self, user_id: int) -> None:
        self._user_id = user_id

    async def user_id(self, _: UUID) -> int:
        return self._user_id


async def serve_ours(setup: Setup) -> None:
    async def get_watch(call: Call) -> WatchView:
        return await setup.read(call.principal.user_id, call.uuid())

    async def get_open(call: Call) -> WatchView:
        return await setup.read(setup.user_id, call.uuid())

    def build(context: Context) -> Service:
        setup.database = context.database
        verifier = TokenVerifier(context.settings, _OneKey(setup.key))
        return Service(
            "analytics",
            endpoints=[
                Endpoint("GET", "/things/{id}", get_watch, "Read", response=WatchView),
                Endpoint("GET", "/v1/usage/{id}", get_watch, "Read without metering", response=WatchView),
                Endpoint("GET", "/open/{id}", get_open, "Read without a token", response=WatchView, public=True),
            ],
            authenticator=Authenticator(verifier, _OneUser(setup.user_id)),  # type: ignore[arg-type]  # it has one user
        )

    configure_logging("bench", "WARNING")
    settings = setup.settings.model_copy(update={"http_port": setup.port})
    async with RunningService(build, settings, {"http"}):
        await asyncio.Event().wait()


async def serve_aiohttp(setup: Setup) -> None:
    async def get_watch(request: web.Request) -> web.Response:
        user_id = setup.check(request.headers["Authorization"])
        view = await setup.read(user_id, UUID(request.match_info["id"]))
        return web.Response(text=view.model_dump_json(), content_type="application/json")

    setup.database = await Database.connect(setup.settings)
    app = web.Application()
    app.router.add_get("/things/{id}", get_watch)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", setup.port).start()
    await asyncio.Event().wait()


async def serve_fastapi(setup: Setup) -> None:
    app = FastAPI()

    @app.get("/things/{watch_id}")
    async def get_watch(watch_id: UUID, authorization: str = Header()) -> WatchView:
        try:
            user_id = setup.check(authorization)
        except jwt.InvalidTokenError as error:
            raise HTTPException(401) from error
        return await setup.read(user_id, watch_id)

    setup.database = await Database.connect(setup.settings)
    config = uvicorn.Config(app, "127.0.0.1", setup.port, log_level="error", access_log=False)
    await uvicorn.Server(config).serve()


VARIANTS = {"ours": serve_ours, "aiohttp": serve_aiohttp, "fastapi": serve_fastapi}

if __name__ == "__main__":
    asyncio.run(VARIANTS[sys.argv[1]](Setup(json.loads(Path(sys.argv[2]).read_text()))))
