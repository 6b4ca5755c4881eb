"""`tradefleet plans grant`, as an operator types it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.plans import plans
from shared.chassis.postgres import Database
from tests.integration.accounts import billing_settings
from tests.integration.billing.conftest import begin

ANN = ["grant", "--email", "Ann@Example.org", "--plan"]


@pytest.fixture
def dsn(service_env: Callable[[str], dict[str, str]]) -> str:
    settings = billing_settings(service_env("billing"))

    async def prepare() -> None:
        database = await Database.connect(settings)
        await begin(database, 1, "ann@example.org")
        await database.close()

    asyncio.run(prepare())
    return settings.postgres_app_dsn.get_secret_value()


def _type(dsn: str, *words: str) -> Result:
    return CliRunner().invoke(plans, words, env={"POSTGRES_APP_DSN": dsn})


def test_a_grant_says_what_holds_now(dsn: str) -> None:
    assert _type(dsn, *ANN, "PRO").output == "Ann@Example.org is on PRO now (version 2)\n"
    assert _type(dsn, *ANN, "PRO").output == "Ann@Example.org was on PRO already (version 2)\n"


def test_as_json_it_is_one_object(dsn: str) -> None:
    shown = json.loads(_type(dsn, *ANN, "FREE", "--json").output)
    assert (shown["plan"], shown["version"], shown["changed"]) == ("FREE", 2, True)


def test_a_plan_that_does_not_exist_is_bad_input(dsn: str) -> None:
    assert _type(dsn, *ANN, "GOLD").exit_code == 2


def test_an_unknown_email_is_bad_input_in_one_line(dsn: str) -> None:
    result = _type(dsn, "grant", "--email", "nobody@example.org", "--plan", "PRO", "--wait", "0.2")
    assert (result.exit_code, result.stderr) == (
        2,
        "tradefleet: nobody is registered as nobody@example.org\n",
    )


def test_without_a_stack_it_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(plans, [*ANN, "PRO", "--home", str(tmp_path)], env={"POSTGRES_APP_DSN": ""})
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "tradefleet up" in result.stderr


def test_a_database_that_is_away_is_one_line() -> None:
    result = _type("postgresql://billing_app:x@127.0.0.1:1/none", *ANN, "PRO")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
