"""Starts a service, supervises its jobs, and drains it within ten seconds of SIGTERM."""

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, Protocol

import structlog
from aiohttp import web
from pydantic import ValidationError

from shared.chassis.access_reader import AccessReader
from shared.chassis.activity import with_activity
from shared.chassis.auth import Authenticator, TokenVerifier
from shared.chassis.crash_points import switch_on
from shared.chassis.ended_logins import EndedLogins
from shared.chassis.errors import ProblemError
from shared.chassis.events.cluster import KnownCluster
from shared.chassis.events.committed_offsets import ReadPositions
from shared.chassis.events.consumer import BatchHandler, Consumer
from shared.chassis.events.handlers import groups_of
from shared.chassis.events.inbox import Inbox, Intake, MarketInbox
from shared.chassis.events.parked_rows import list_waiting_topics
from shared.chassis.events.producer import Producer
from shared.chassis.events.relay import Relay
from shared.chassis.events.unhandled import parked_for_upgrade
from shared.chassis.health import Check, add_health_routes
from shared.chassis.http import openapi, transport
from shared.chassis.http.app import STREAMS, Endpoint, make_app
from shared.chassis.http.idempotency import key_retention
from shared.chassis.identity import UserDirectory
from shared.chassis.jobs import AT_ONCE, Job, every
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.quota.meter import REPORT_EVERY_S, Meter
from shared.chassis.quota.metered_paths import with_refusal
from shared.chassis.quota.quotas import Quotas
from shared.chassis.retention import event_days
from shared.chassis.service_tokens import ServiceCallers
from shared.chassis.service_types import Context, Service
from shared.chassis.settings import ServiceSettings
from shared.chassis.telemetry import configure_logging

DRAIN_S = 8.0
RESTART_FIRST_S = 0.2
RESTART_LONGEST_S = 5.0
RETRY_PARKED_EVERY_S = 1.0
ROLES = ("http", "consumers", "relay", "jobs", "worker", "feed", "backtests")
SEPARATE_ROLES = frozenset(("feed", "backtests"))  # always run as separate processes
DEFAULT_ROLES = frozenset(ROLES) - SEPARATE_ROLES

Build = Callable[[Context], Service]

log = structlog.get_logger()


def run(build: Build, settings_type: type[ServiceSettings]) -> None:
    """Run a service's `__main__`: settings from the environment, roles from `--only`."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--only",
        default="",
        help=f"comma-separated roles from {','.join(ROLES)}; default: all but {', '.join(sorted(SEPARATE_ROLES))}",
    )
    names = [name for name in parser.parse_args().only.split(",") if name]
    if unknown := [name for name in names if name not in ROLES]:
        parser.error(f"--only: {unknown[0]} is not one of {', '.join(ROLES)}")
    try:
        settings = settings_type()
    except ValidationError as error:
        for fault in error.errors(include_input=False, include_url=False):
            where = "".join(f"{name}: ".upper() for name in fault["loc"][:1])
            print(where + fault["msg"].removeprefix("Value error, "), file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
    configure_logging(settings.service, settings.log_level)
    if settings.fault_points is not None:
        switch_on(settings.fault_points, settings.process_name or settings.service)
    roles = frozenset(names) or DEFAULT_ROLES
    asyncio.run(_serve(build, settings, roles))


async def _serve(build: Build, settings: ServiceSettings, roles: frozenset[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with RunningService(build, settings, roles, stop) as running:
        tune_garbage_collector()
        await stop.wait()
    if running.failed:
        raise SystemExit(1)


def tune_garbage_collector() -> None:
    """Freeze the loaded modules and collect less often. Modules stay loaded and batches are short-lived; with the
    default threshold of 700 objects, looking for cycles takes a third of the time of decoding a batch."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


class RunningService:
    """A service in this process: `async with RunningService(...) as running: running.url`."""

    def __init__(
        self,
        build: Build,
        settings: ServiceSettings,
        roles: Iterable[str] = DEFAULT_ROLES,
        stop: asyncio.Event | None = None,
    ) -> None:
        self._build = build
        self._settings = settings
        self._roles = frozenset(roles)
        self._stop = stop or asyncio.Event()
        self.failed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._runners: list[web.AppRunner] = []
        self.url = ""
        self.internal_url = ""

    async def __aenter__(self) -> "RunningService":
        settings = self._settings
        self.database = await Database.connect(settings)
        self.database.fills_alone = self._roles >= DEFAULT_ROLES
        self.producer = Producer(settings.kafka, settings.kafka_topic_prefix, settings.service)
        self.cluster = KnownCluster(self.database)
        self._ended_logins = EndedLogins()
        self.quotas = Quotas()
        self._access_reader = AccessReader(
            settings.kafka, settings.kafka_topic_prefix, self._ended_logins, self.quotas
        )
        self.service = self._build(Context(self.database, self.producer, settings, self._ended_logins))
        self._meter = Meter(self.database, self.quotas, self.service.name)
        consumers = self._consumers()
        for job in self._jobs(consumers):
            task = asyncio.create_task(self._supervise(job), name=job.name)
            task.add_done_callback(self._on_job_end)
            self._tasks.append(task)
        followers: list[_Faulty] = [*consumers, self.cluster]
        if "http" in self._roles:
            followers.append(self._access_reader)
        await self._listen([_fault_of(follower) for follower in followers])
        log.info("started", url=self.url, roles=sorted(self._roles))
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._stop.set()
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        if self._tasks:
            _done, late = await asyncio.wait(self._tasks, timeout=DRAIN_S)
            for task in late:
                log.warning("cancelled", task=task.get_name())
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._meter.close()
        for on_close in self.service.on_close:
            await on_close()
        await self.producer.stop()
        await self.database.close()
        log.info("stopped")

    def _consumers(self) -> list[Consumer]:
        if "consumers" not in self._roles:
            return []
        name = self.service.name
        event_group, market_group = groups_of(name)
        groups: dict[str, list[Intake[Any]]] = {  # Any: each has its own event type
            event_group: [
                Inbox(self.database, name, each.event, each.handle, each.versioned)
                for each in self.service.handlers
            ],
            market_group: [
                MarketInbox(self.database, market_group, each.event, each.handle)
                for each in self.service.market_handlers
            ],
        }
        self._intakes = [intake for intakes in groups.values() for intake in intakes]
        return [
            self._consumer(group, {intake.topic: intake.process for intake in intakes})
            for group, intakes in groups.items()
            if intakes
        ]

    def _consumer(self, group: str, handlers: Mapping[str, BatchHandler]) -> Consumer:
        return Consumer(
            group=group,
            kafka=self._settings.kafka,
            topic_prefix=self._settings.kafka_topic_prefix,
            handlers=handlers,
            cluster=self.cluster,
            positions=ReadPositions(self.database),
        )

    def _jobs(self, consumers: list[Consumer]) -> list[Job]:
        jobs = [job for job in self.service.jobs if job.role in self._roles]
        jobs += [Job(f"consumer-{number}", consumer.run) for number, consumer in enumerate(consumers)]
        if "http" in self._roles:
            jobs.append(Job("access", self._access_reader.run))
            jobs.append(every("usage", REPORT_EVERY_S, self._meter.report))
        if consumers:
            jobs.append(every("retry-parked", RETRY_PARKED_EVERY_S, self._retry_parked))
        if "jobs" in self._roles and any(endpoint.creates for endpoint in self.service.endpoints):
            jobs.append(key_retention(self.database))
        if "relay" in self._roles and self.service.relay:
            jobs.append(Job("relay", Relay(self.database, self.producer, self.cluster).run))
            jobs.append(event_days(self.database))
        return jobs

    async def _retry_parked(self) -> float | None:
        """Retry parked events; at once again while retries succeed, because the next one of a key is then due."""
        topics = await list_waiting_topics(self.database, groups_of(self.service.name))
        retried = [await intake.retry_parked() for intake in self._intakes if intake.topic in topics]
        return AT_ONCE if sum(retried) else None

    async def _supervise(self, job: Job) -> None:
        """Run a job; restart it after an infrastructure fault or a ProblemError. Other faults end the process."""
        wait_s = RESTART_FIRST_S
        while not self._stop.is_set():
            try:
                await job.run(self._stop)
                return
            except (*INFRASTRUCTURE_FAULTS, ProblemError) as error:
                log.warning("job_restarts", job=job.name, error=repr(error))
            await pause(self._stop, wait_s)
            wait_s = min(wait_s * 2, RESTART_LONGEST_S)

    def _on_job_end(self, task: asyncio.Task[None]) -> None:
        """End the process if a job ended, in any way, before the stop. The process supervisor restarts it."""
        error = None if task.cancelled() else task.exception()
        if error is None and self._stop.is_set():
            return
        log.error("job_failed", job=task.get_name(), exc_info=error)
        self.failed = True
        self._stop.set()

    async def _listen(self, checks: list[Check]) -> None:
        settings, service = self._settings, self.service
        external = [with_refusal(endpoint) for endpoint in service.endpoints if not endpoint.internal]
        internal = [endpoint for endpoint in service.endpoints if endpoint.internal]
        authenticator = service.authenticator or Authenticator(
            TokenVerifier(settings), UserDirectory(self.database), self._ended_logins
        )
        recorded = [with_activity(endpoint, service.name, settings.trusted_proxies) for endpoint in external]
        app = make_app(
            recorded if "http" in self._roles else [],
            authenticator,
            body_limit_bytes=settings.body_limit_bytes,
            database=self.database,
            admit=self._meter.admit,
        )
        app[STREAMS].follow(self._ended_logins)
        app.router.add_get("/openapi.json", _document_of(service.name, external))
        parked = partial(parked_for_upgrade, self.database)
        add_health_routes(app, self.database, [self._jobs_check, *checks], parked)
        self.url = await self._bind(app, settings.http_port)
        if internal and "http" in self._roles:
            internal_app = make_app(
                internal,
                None,
                body_limit_bytes=settings.body_limit_bytes,
                callers=ServiceCallers(settings.service, settings.service_keys_file),
            )
            self.internal_url = await self._bind(internal_app, settings.internal_http_port or 0)

    async def _jobs_check(self) -> str:
        ended = [task.get_name() for task in self._tasks if task.done()]
        return f"ended: {', '.join(ended)}" if ended else ""

    async def _bind(self, app: web.Application, port: int) -> str:
        runner = transport.runner(app, self._settings, DRAIN_S)
        self._runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, self._settings.http_host, port)
        await site.start()
        host, bound = runner.addresses[0][:2]
        return f"http://{host}:{bound}"


def _document_of(name: str, endpoints: list[Endpoint]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Describe the endpoints on the first request rather than at each start, as it takes a tenth of a second."""
    document = cache(lambda: openapi.describe(name, endpoints))

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(document())

    return answer


class _Faulty(Protocol):
    @property
    def fault(self) -> str: ...


def _fault_of(part: _Faulty) -> Check:
    async def check() -> str:
        return part.fault

    return check
