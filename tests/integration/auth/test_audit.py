"""`tradefleet audit verify`, as an operator runs it."""

import asyncio
import json
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from click.testing import CliRunner, Result

from cli.audit import audit
from services.auth.domain.accounts import NewUser
from services.auth.queries import accounts
from services.auth.settings import AuthSettings
from shared.chassis.clock import utc_now
from shared.chassis.postgres import Database
from shared.contracts.emails import email_sha256
from stack.migrate import DatabaseAccess
from tests.integration.auth.test_activity import activity_event, log

ROWS = 4
PUBLIC_IDS = {user_id: str(UUID(int=user_id)) for user_id in (1, 2)}
MOVE = "UPDATE auth.user_activity_log SET seq = {} WHERE user_id = 2 AND seq = {}"


@pytest.fixture
def dsn(settings: AuthSettings) -> str:
    """Prepare two users with accounts, and a third with rows but without an account."""
    asyncio.run(_prepare(settings))
    return settings.postgres_worker_dsn.get_secret_value()


async def _prepare(settings: AuthSettings) -> None:
    database = await Database.connect(settings)
    for user_id in PUBLIC_IDS:
        user = NewUser(f"{user_id}@example.org", "", "UTC", "en", None, None, None)
        async with database.tenant(user_id) as connection:
            await accounts.locate_email(connection, email_sha256(user.email), claim=user_id)
            await accounts.insert_user(connection, user_id, UUID(int=user_id), user, "", utc_now())
    await log(
        database, *(activity_event(user_id, number) for number in range(1, ROWS + 1) for user_id in (1, 2, 3))
    )
    await database.close()


def _plant(postgres: str, access: DatabaseAccess, *statements: str) -> None:
    """Change rows as a superuser, whom no privilege restricts."""

    async def run() -> None:
        connection = await asyncpg.connect(postgres, database=access.name)
        for statement in statements:
            assert not (await connection.execute(statement)).endswith(" 0"), statement
        await connection.close()

    asyncio.run(run())


def _type(dsn: str, *words: str) -> Result:
    return CliRunner().invoke(audit, ["verify", *words], env={"POSTGRES_WORKER_DSN": dsn})


def test_an_unchanged_log_verifies(dsn: str) -> None:
    result = _type(dsn)
    assert (result.exit_code, result.output) == (0, "12 rows of 3 users: unchanged\n")
    assert json.loads(_type(dsn, "--json").output) == {"rows": 12, "users": 3, "faults": 0, "found": []}


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (
            ["UPDATE auth.user_activity_log SET ip_address = NULL WHERE user_id = 2 AND seq = 3"],
            [(3, "CHANGED")],
        ),
        (["UPDATE auth.user_activity_log SET hash = sha256('') WHERE user_id = 2 AND seq = 3"], [(3, "CHANGED")]),
        (["DELETE FROM auth.user_activity_log WHERE user_id = 2 AND seq = 2"], [(2, "MISSING")]),
        (["DELETE FROM auth.user_activity_log WHERE user_id = 2 AND seq > 2"], [(3, "MISSING"), (4, "MISSING")]),
        (["DELETE FROM auth.user_activity_log WHERE user_id = 2"], [(n, "MISSING") for n in range(1, ROWS + 1)]),
        ([MOVE.format(9, 2), MOVE.format(2, 3), MOVE.format(3, 9)], [(2, "MOVED"), (3, "MOVED")]),
        (["DELETE FROM auth.user_activity_heads WHERE user_id = 2"], [(ROWS, "HEAD_MISSING")]),
        (["UPDATE auth.user_activity_heads SET entries = 3 WHERE user_id = 2"], [(ROWS, "ADDED")]),
    ],
    ids=["changed", "hash", "removed", "last removed", "all removed", "swapped", "head", "count"],
)
def test_a_planted_change_is_found(
    dsn: str,
    postgres: str,
    database_access: DatabaseAccess,
    statements: list[str],
    expected: list[tuple[int, str]],
) -> None:
    _plant(postgres, database_access, *statements)
    result = _type(dsn, "--json")
    found = json.loads(result.output)["found"]
    assert result.exit_code == 1
    assert [(one["row"], one["harm"]) for one in found] == expected
    assert {one["user_id"] for one in found} == {PUBLIC_IDS[2]}


def test_a_fault_is_described_and_one_user_can_be_selected(
    dsn: str, postgres: str, database_access: DatabaseAccess
) -> None:
    _plant(postgres, database_access, "DELETE FROM auth.user_activity_log WHERE user_id > 1 AND seq = 4")
    result = _type(dsn)
    assert (result.exit_code, result.output.splitlines()) == (
        1,
        [
            f"user {PUBLIC_IDS[2]}: row 4 was removed",
            "user number 3 (deleted): row 4 was removed",
            "10 rows of 3 users: 2 faults",
        ],
    )
    assert _type(dsn, "--email", "1@Example.org").output == "4 rows of 1 users: unchanged\n"
    assert _type(dsn, "--email", "2@example.org").exit_code == 1


def test_an_unknown_email_and_a_missing_stack_are_one_line_of_bad_input(dsn: str, tmp_path: Path) -> None:
    unknown = _type(dsn, "--email", "nobody@example.org")
    assert (unknown.exit_code, unknown.stderr) == (2, "tradefleet: no user is registered as nobody@example.org\n")
    for missing in (_type(dsn, "--home", str(tmp_path)), _type("postgresql://auth_worker:x@127.0.0.1:1/none")):
        assert (missing.exit_code, len(missing.stderr.splitlines())) == (2, 1)
