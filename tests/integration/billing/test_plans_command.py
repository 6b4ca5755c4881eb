"""`tradefleet plans`, as an operator runs it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.plans import plans
from shared.chassis.postgres import Database
from stack.migrate import DatabaseAccess
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


@pytest.fixture
def owner_env(database_access: DatabaseAccess) -> dict[str, str]:
    """Return the environment of the role that runs migrations."""
    return {
        "POSTGRES_OWNER_DSN": database_access.owner_dsn,
        "POSTGRES_APP_DSN": database_access.dsn("billing_app"),
        "POSTGRES_QUEUE_DSN": database_access.dsn("billing_queue"),
    }


def _as_owner(env: dict[str, str], *words: str) -> Result:
    return CliRunner().invoke(plans, words, env=env)


def _plan_file(env: dict[str, str], folder: Path, **changes: object) -> Path:
    """Write the PREMIUM plan with these changes to a file."""
    listed = json.loads(_as_owner(env, "list", "--json").output)["plans"]
    premium = next(plan for plan in listed if plan["name"] == "PREMIUM")
    del premium["version"], premium["is_active"]
    file = folder / "plan.json"
    file.write_text(json.dumps({**premium, **changes}))
    return file


def test_publishing_a_file_shows_the_changes_and_move_applies_them(
    owner_env: dict[str, str], dsn: str, tmp_path: Path
) -> None:
    file = str(_plan_file(owner_env, tmp_path, price_monthly="39.99"))
    tried = _as_owner(owner_env, "publish", file, "--dry-run")
    assert tried.output == (
        'PREMIUM version 2 would be offered to new subscribers\n  price_monthly: "29.99" → "39.99"\n'
    )
    assert "version 2 is now offered" in _as_owner(owner_env, "publish", file).output
    assert _as_owner(owner_env, "publish", file).output == "PREMIUM is unchanged (version 2)\n"
    listed = _as_owner(owner_env, "list", "--all").output
    assert "PREMIUM version 1 (no longer offered): 29.99 EUR" in listed
    moved = _as_owner(owner_env, "migrate", "PREMIUM", "--json")
    assert json.loads(moved.output) == {"plan": "PREMIUM", "moved": 1, "dry_run": False}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "GOLD"}, "name: "),
        ({"price_monthly": 39.99}, "price_monthly: "),
        ({"price_monthly": "-1"}, "price_monthly: must be at least 0"),
        ({"colour": "red"}, "colour: "),
        ({"limits": {}}, "limits.max_trades_per_month: "),
    ],
)
def test_an_invalid_plan_file_is_one_line_that_names_the_field(
    owner_env: dict[str, str], tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    result = _as_owner(owner_env, "publish", str(_plan_file(owner_env, tmp_path, **changes)))
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert f"plan.json: {says}" in result.stderr


@pytest.mark.parametrize("content", [None, "{", '{"name": 1, "name": 2}', "\udcff"])
def test_a_missing_or_malformed_file_is_one_line(
    owner_env: dict[str, str], tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "plan.json"
    if content is not None:
        file.write_bytes(content.encode(errors="surrogateescape"))
    result = _as_owner(owner_env, "publish", str(file))
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


def _type(dsn: str, *words: str) -> Result:
    return CliRunner().invoke(plans, words, env={"POSTGRES_APP_DSN": dsn})


def test_a_grant_prints_the_current_plan(dsn: str) -> None:
    assert _type(dsn, *ANN, "PRO").output == "Ann@Example.org is now on PRO (version 2)\n"
    assert _type(dsn, *ANN, "PRO").output == "Ann@Example.org is already on PRO (version 2)\n"


def test_the_json_output_is_one_object(dsn: str) -> None:
    shown = json.loads(_type(dsn, *ANN, "FREE", "--json").output)
    assert (shown["plan"], shown["version"], shown["changed"]) == ("FREE", 2, True)


def test_a_plan_that_does_not_exist_is_bad_input(dsn: str) -> None:
    assert _type(dsn, *ANN, "GOLD").exit_code == 2


def test_an_unknown_email_is_bad_input_in_one_line(dsn: str) -> None:
    result = _type(dsn, "grant", "--email", "nobody@example.org", "--plan", "PRO", "--wait", "0.2")
    assert (result.exit_code, result.stderr) == (
        2,
        "tradefleet: no user is registered as nobody@example.org\n",
    )


def test_without_a_stack_it_reports_that(tmp_path: Path) -> None:
    result = CliRunner().invoke(plans, [*ANN, "PRO", "--home", str(tmp_path)], env={"POSTGRES_APP_DSN": ""})
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "tradefleet up" in result.stderr


def test_an_unreachable_database_is_one_line() -> None:
    result = _type("postgresql://billing_app:x@127.0.0.1:1/none", *ANN, "PRO")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
