"""Times without an offset are refused: in requests, on the way to the database, and in our code."""

import os
import time
import tomllib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest
import requests

from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from shared.testing.operations import Field, Operation
from stack.migrate import ROOT
from tests.conftest import ServiceEnv
from tests.hostile.operations import operations, sample_of, with_ids
from tests.hostile.world import World
from tests.hostile.wrong_values import NAIVE_TIMES

TEXT_OF = "SELECT to_char($1 AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"


def _name(value: object) -> str | None:
    return value.label if isinstance(value, Operation) else getattr(value, "name", None)


@pytest.fixture
async def database(service_env: ServiceEnv) -> AsyncIterator[Database]:
    values = {name.lower(): value for name, value in service_env("analytics").items()}
    opened = await Database.connect(ServiceSettings.model_validate({**values, "service": "analytics"}))
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("query", "argument"),
    [
        ("SELECT $1::timestamptz", datetime(2026, 1, 31)),  # noqa: DTZ001
        ("SELECT $1::timestamptz[]", [datetime(2026, 1, 31)]),  # noqa: DTZ001
        ("SELECT tstzrange($1, NULL)", datetime(2026, 1, 31)),  # noqa: DTZ001
        ("SELECT $1::timestamptz", datetime(2026, 1, 31, tzinfo=UTC).date()),
    ],
)
async def test_the_database_refuses_a_time_without_an_offset(
    database: Database, query: str, argument: object
) -> None:
    async with database.untenanted() as connection:
        with pytest.raises(asyncpg.DataError, match="offset from UTC"):
            await connection.fetchval(query, argument)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 31, 9, 30, 0, 123_457, UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
        datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
        datetime(1, 1, 3, tzinfo=UTC),
        datetime(9999, 12, 29, tzinfo=UTC),
    ],
)
async def test_a_time_survives_a_round_trip_to_the_database(database: Database, moment: datetime) -> None:
    async with database.untenanted() as connection:
        back = await connection.fetchval("SELECT $1::timestamptz", moment)
        many = await connection.fetchval("SELECT $1::timestamptz[]", [moment, None])
        text = await connection.fetchval(
            "SELECT to_char($1 AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')", moment
        )
    assert (back, back.utcoffset(), many) == (moment, timedelta(), [moment, None])
    assert text == moment.astimezone(UTC).isoformat(" ", "microseconds").removesuffix("+00:00")


def test_the_tests_run_far_from_utc() -> None:
    assert os.environ["TZ"] == "America/New_York"
    assert time.localtime(0).tm_gmtoff == -5 * 3600


def test_the_lint_against_naive_times_is_active_without_exemptions() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    refused = [*lint["ignore"], *(rule for rules in lint["per-file-ignores"].values() for rule in rules)]
    assert "DTZ" in lint["select"]
    assert not [rule for rule in refused if rule.startswith("DTZ")]


TIMED_QUERIES = [(one, field) for one in operations() for field in one.query if field.kind == "date-time"]
TIMED_BODIES = [(one, field) for one in operations() for field in one.body or () if field.kind == "date-time"]


@pytest.mark.parametrize(("operation", "field"), TIMED_QUERIES, ids=_name)
@pytest.mark.parametrize("naive", NAIVE_TIMES)
def test_a_query_refuses_a_time_without_an_offset(
    world: World, operation: Operation, field: Field, naive: str
) -> None:
    given = {"symbol": "BTCUSDT", "interval": "15", "what": "trades"}
    needed = {each.name: given[each.name] for each in operation.query if each.required}
    url = world.service_of(operation.path).url + with_ids(operation.path, world.created)
    answer = requests.get(url, {**needed, field.name: naive}, headers=world.headers, timeout=10)
    assert (answer.status_code, _paths(answer)) == (422, [f"$.{field.name}"])


@pytest.mark.parametrize(("operation", "field"), TIMED_BODIES, ids=_name)
@pytest.mark.parametrize("naive", NAIVE_TIMES)
def test_a_body_refuses_a_time_without_an_offset(
    world: World, operation: Operation, field: Field, naive: str
) -> None:
    url = world.service_of(operation.path).url + with_ids(operation.path, world.created)
    body = {**sample_of(operation, world.created["/v1/strategies"]), field.name: naive}
    answer = requests.request(operation.method, url, json=body, headers=world.headers, timeout=10)
    assert (answer.status_code, _paths(answer)) == (422, [f"$.{field.name}"])


def test_some_operations_take_times() -> None:
    assert {field.name for _, field in TIMED_QUERIES} >= {"from", "to"}
    assert {field.name for _, field in TIMED_BODIES} >= {"expires_at"}


def _paths(answer: requests.Response) -> list[str]:
    return [fault["path"] for fault in answer.json()["errors"]]
