"""No secret leaves custody: which role may read what, and what a search through everything finds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import generate_latest

from services.trading.app import build
from services.trading.custody.account_reader import Site
from services.trading.errors import LiveTradingOff, SecretUnreadable
from services.trading.exchange.account_facts import AccountFacts, Credentials
from shared.chassis.errors import NotFound
from shared.chassis.service import RunningService
from shared.testing.api_client import ApiClient, open_client
from shared.testing.tokens import serve_tokens
from stack.migrate import SERVICES, DatabaseAccess
from tests.integration.trading.conftest import Trading
from tests.integration.trading.custody.conftest import KEY, PATH, SECRET, Desk, body, open_desk
from tests.isolation.filled import TABLES
from tests.isolation.world import captured_log
from tests.unit.trading.custody.accounts import Accounts

DENIED = asyncpg.InsufficientPrivilegeError
AS_ANN = "SET app.user_id = '1'; SET app.user_ids = '1'"
NEXT_SECRET = "theNextSecretOfAnnxyzxyzxyzxyz"


@asynccontextmanager
async def as_role(access: DatabaseAccess, role: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(access.dsn(f"trading_{role}"))
    try:
        await connection.execute(AS_ANN)
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("role", ["app", "queue"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM exchange_secrets",
        "SELECT ciphertext FROM exchange_secrets",
        "SELECT count(*) FROM exchange_secrets",
        "UPDATE exchange_secrets SET version = version RETURNING *",
        "DELETE FROM exchange_secrets RETURNING *",
        "COPY exchange_secrets TO STDOUT",
    ],
)
async def test_no_role_but_the_worker_reads_a_secret(
    desk: Desk, database_access: DatabaseAccess, role: str, statement: str
) -> None:
    await desk.added()
    async with as_role(database_access, role) as connection:
        with pytest.raises(DENIED):
            await connection.fetch(statement)


async def test_an_insert_does_not_give_a_secret_back(desk: Desk, database_access: DatabaseAccess) -> None:
    await desk.added()
    (row,) = await desk.trading.fetch("SELECT exchange_account_id FROM exchange_accounts")
    insert = "INSERT INTO exchange_secrets VALUES (1, $1, 1, '', '', '')"
    async with as_role(database_access, "app") as connection:
        upsert = " ON CONFLICT ON CONSTRAINT exchange_secrets_pkey DO UPDATE SET key_id = ''"
        for more in (" RETURNING ciphertext", upsert):
            with pytest.raises(DENIED):
                await connection.execute(insert + more, row[0])


async def test_the_worker_changes_nothing_but_the_wrapping(desk: Desk, database_access: DatabaseAccess) -> None:
    await desk.added()
    async with as_role(database_access, "worker") as connection:
        assert await connection.fetchval("SELECT count(*) FROM exchange_secrets") == 1
        for column in ("ciphertext", "version", "user_id", "exchange_account_id"):
            with pytest.raises(DENIED):
                await connection.execute(f"UPDATE exchange_secrets SET {column} = {column}")
        for statement in ("DELETE FROM exchange_secrets", "DELETE FROM exchange_accounts"):
            with pytest.raises(DENIED):
                await connection.execute(statement)


async def test_credentials_are_opened_for_their_tenant_only(desk: Desk) -> None:
    await desk.added()
    (row,) = await desk.trading.fetch("SELECT exchange_account_id FROM exchange_accounts")
    custody, database = desk.custody(), desk.trading.database
    async with database.tenants([1]) as connection:
        assert await custody.open_credentials(connection, 1, row[0]) == Credentials(KEY, SECRET)
    async with database.tenants([2]) as connection:
        for user_id in (1, 2):
            with pytest.raises(NotFound):
                await custody.open_credentials(connection, user_id, row[0])
    with pytest.raises(DENIED):
        async with database.tenant(1) as connection:
            await custody.open_credentials(connection, 1, row[0])


async def test_live_credentials_are_not_opened_while_the_operator_has_them_off(trading: Trading) -> None:
    async with open_desk(trading, tradefleet_live="on") as desk:
        await desk.added(environment="LIVE")
        (row,) = await trading.fetch("SELECT exchange_account_id FROM exchange_accounts")
        async with trading.database.tenants([1]) as connection:
            with pytest.raises(LiveTradingOff):
                await desk.custody().open_credentials(connection, 1, row[0])


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE exchange_secrets SET (wrapped_key, ciphertext) = "
        "(SELECT wrapped_key, ciphertext FROM exchange_secrets WHERE user_id = 2) WHERE user_id = 1",
        "UPDATE exchange_secrets SET ciphertext = (SELECT ciphertext FROM exchange_secrets WHERE user_id = 2) "
        "WHERE user_id = 1",
        "UPDATE exchange_secrets SET wrapped_key = (SELECT wrapped_key FROM exchange_secrets WHERE user_id = 2) "
        "WHERE user_id = 1",
        "UPDATE exchange_secrets SET ciphertext = set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1)",
        "UPDATE exchange_secrets SET version = 2; UPDATE exchange_accounts SET key_version = 2",
        "UPDATE exchange_secrets SET version = 2",
        "DELETE FROM exchange_secrets",
    ],
)
async def test_a_tampered_row_fails_closed(desk: Desk, tampering: str) -> None:
    await desk.added()
    await desk.added(2, api_key="theApiKeyOfBob0002")
    (row,) = await desk.trading.fetch("SELECT exchange_account_id FROM exchange_accounts WHERE user_id = 1")
    await desk.trading.owner.execute(tampering)
    async with desk.trading.database.tenants([1]) as connection:
        with pytest.raises(SecretUnreadable):
            await desk.custody().open_credentials(connection, 1, row[0])


async def test_a_search_through_everything_finds_no_secret(
    trading: Trading, database_access: DatabaseAccess, postgres: str, exchange_keys: Path
) -> None:
    """The log with its tracebacks, every answer, every row with the events among them, and the metrics."""
    async with captured_log() as log, open_desk(trading) as desk:
        answers = await _provoke(desk)
        await _fail_inside(trading)
        dumped = await _dump(database_access, postgres)
        text = "\n".join([log.getvalue(), *answers, dumped, generate_latest().decode()])
    assert "exchange-unreachable" in text
    assert "exchange_account_unreadable" in text
    assert "key_rejected" in dumped
    assert '"exception"' in log.getvalue(), "no traceback was logged"
    ring = [line.strip() for line in exchange_keys.read_text().split('"') if len(line) > 40]
    assert len(ring) >= 2
    assert [secret for secret in (SECRET, NEXT_SECRET, KEY, *ring) if secret in text] == []
    assert [secret for secret in (SECRET, NEXT_SECRET) if secret.encode().hex() in dumped] == []


async def _provoke(desk: Desk) -> list[str]:
    """Succeed and fail in every way, and return the answers."""
    ann, path = await desk.added()
    key = {"api_key": KEY, "api_secret": NEXT_SECRET}
    answers = [await ann.call("GET", path), await ann.call("PUT", f"{path}/key", key)]
    for wrong in (
        body("second"),
        {**body("third"), "environment": SECRET},
        {**body("fourth"), SECRET: SECRET},
        {**body("fifth"), "api_key": [SECRET]},
        {**body("sixth"), "api_secret": SECRET * 10},
        {**body("seventh"), "account_name": ""},
    ):
        answers.append(await ann.call("POST", PATH, wrong))
    assert {answer.status for answer in answers[2:]} == {409, 422}
    del answers[4]  # it names the unknown field, as the client sent it
    desk.accounts.is_down = True
    answers += [await ann.call("POST", f"{path}/check"), await ann.call("PUT", f"{path}/key", key)]
    await desk.probe_all()
    desk.accounts.is_down = False
    desk.accounts.secrets[KEY] = "only this one"
    answers += [await ann.call("POST", f"{path}/check"), await ann.call("PUT", f"{path}/key", key)]
    await desk.probe_all()
    await desk.trading.fetch("UPDATE exchange_secrets SET ciphertext = 'x' RETURNING 1")
    answers.append(await ann.call("POST", f"{path}/check"))
    await desk.probe_all()
    return [answer.raw + str(answer.headers) for answer in answers]


class Broken(Accounts):
    """A defect of the adapter, whose text repeats the request."""

    async def read_account_facts(self, credentials: Credentials, site: Site) -> AccountFacts:
        raise RuntimeError(f"cannot sign {credentials!r}") from ValueError(credentials)


async def _fail_inside(trading: Trading) -> None:
    async with serve_tokens() as tokens:
        settings = trading.settings.model_copy(update={"jwks_url": tokens.jwks_url})
        async with RunningService(partial(build, account_reader=Broken()), settings, {"http"}) as running:
            async with open_client(running.url) as client:
                principal = await trading.subscribe(9)
                caller = ApiClient(client.url, client.http, tokens.make_token(principal.public_id))
                assert (await caller.call("POST", PATH, body())).status == 500


async def _dump(access: DatabaseAccess, postgres: str) -> str:
    """Return every row of every table as text."""
    superuser = await asyncpg.connect(postgres, database=access.name)
    try:
        tables = [f"{row['service']}.{row['name']}" for row in await superuser.fetch(TABLES, SERVICES)]
        rows = [await superuser.fetch(f"SELECT t::text FROM {table} AS t") for table in tables]
    finally:
        await superuser.close()
    return "\n".join(row[0] for each in rows for row in each)
