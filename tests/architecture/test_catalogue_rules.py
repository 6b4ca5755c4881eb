"""Each rule of the catalogue finds its fault and names the object: faulty objects are created, and rolled back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from stack.migrate import DatabaseAccess
from tests.architecture import catalogue
from tests.architecture.catalogue import POLICIES, Rule
from tests.backend import admin_execute
from tests.conftest import copy_template

TABLE = (
    "CREATE TABLE analytics.leak (user_id bigint NOT NULL, leak_id uuid NOT NULL, PRIMARY KEY (user_id, leak_id));"
)
PROTECTED = f"{TABLE} SET LOCAL search_path = analytics; CALL tenant_table('leak', app => 'SELECT', worker => '');"
APP = "TO analytics_app"
DEFINER = "LANGUAGE sql SECURITY DEFINER SET search_path = analytics, pg_temp"
CLOSED = "REVOKE ALL ON FUNCTION analytics.leak FROM PUBLIC;"


def policy(text: str, name: str = "one_tenant", to: str = APP, command: str = "ALL") -> str:
    check = "" if command == "SELECT" else f"WITH CHECK ({text})"
    made = f"CREATE POLICY {name} ON leak FOR {command} {to} USING ({text}) {check}"
    return f"{PROTECTED} DROP POLICY one_tenant ON leak; {made}"


ONE = POLICIES["one_tenant"][1]
BAD: list[tuple[Rule, str, str]] = [
    (catalogue.tenant_tables_are_forced, TABLE, "analytics.leak: row-level security is not on"),
    (
        catalogue.tenant_tables_are_forced,
        f"{TABLE} ALTER TABLE analytics.leak ENABLE ROW LEVEL SECURITY",
        "analytics.leak: row-level security is not forced",
    ),
    (
        catalogue.tenant_tables_are_forced,
        "CREATE TABLE analytics.leak PARTITION OF analytics.inbox FOR VALUES FROM (first_id_of('2001-01-01')) "
        "TO (first_id_of('2001-01-02'))",
        "analytics.leak: row-level security is not on",
    ),
    (catalogue.tables_are_a_tenants_or_listed, "CREATE TABLE analytics.leak (x text)", "analytics.leak: has no"),
    (
        catalogue.tenants_are_bigint_and_never_null,
        "CREATE TABLE analytics.leak (user_id bigint)",
        "analytics.leak: user_id is not",
    ),
    (
        catalogue.tenants_are_bigint_and_never_null,
        "CREATE TABLE analytics.leak (user_id text PRIMARY KEY)",
        "analytics.leak: user_id is not",
    ),
    (
        catalogue.views_run_as_the_caller,
        "CREATE VIEW analytics.leak AS SELECT * FROM analytics.watchlist",
        "analytics.leak: is a view",
    ),
    (
        catalogue.views_run_as_the_caller,
        "CREATE MATERIALIZED VIEW analytics.leak AS SELECT * FROM analytics.watchlist",
        "analytics.leak: is a materialized view",
    ),
    (catalogue.policies_are_one_of_three, policy("true"), "analytics.leak: policy one_tenant is none"),
    (catalogue.policies_are_one_of_three, policy(f"{ONE} OR true"), "analytics.leak: policy one_tenant is none"),
    (catalogue.policies_are_one_of_three, policy("user_id > 0", "mine"), "analytics.leak: policy mine is none"),
    (catalogue.policies_are_one_of_three, policy(ONE, to="TO PUBLIC"), "analytics.leak: policy one_tenant is of"),
    (
        catalogue.policies_are_one_of_three,
        policy(ONE, command="SELECT"),
        "analytics.leak: policy one_tenant is none",
    ),
    (
        catalogue.policies_are_one_of_three,
        policy(ONE, to="TO analytics_worker"),
        "analytics.leak: policy one_tenant is of analytics_worker",
    ),
    (
        catalogue.policies_are_one_of_three,
        policy("true", "queue", "TO analytics_queue"),
        "analytics.leak: policy queue shows all tenants",
    ),
    (
        catalogue.grants_come_with_a_policy,
        f"{PROTECTED} GRANT INSERT ON leak TO analytics_worker",
        "analytics.leak: analytics_worker may INSERT and has no policy",
    ),
    (
        catalogue.grants_come_with_a_policy,
        f"{PROTECTED} GRANT SELECT (leak_id) ON leak TO analytics_queue",
        "analytics.leak: analytics_queue may SELECT and has no policy",
    ),
    (catalogue.grants_come_with_a_policy, TABLE, "analytics.leak: is granted to no role"),
    (catalogue.grants_stay_small, f"{PROTECTED} GRANT SELECT ON leak TO PUBLIC", "analytics.leak: PUBLIC may"),
    (
        catalogue.grants_stay_small,
        f"{PROTECTED} GRANT SELECT ON leak TO billing_app",
        "analytics.leak: billing",
    ),
    (catalogue.grants_stay_small, f"{PROTECTED} GRANT TRUNCATE ON leak {APP}", "analytics.leak: analytics_app"),
    (
        catalogue.grants_stay_small,
        f"GRANT SELECT ON analytics.user_locator {APP}",
        "analytics.user_locator: analytics_app may SELECT of a locator",
    ),
    (
        catalogue.grants_stay_small,
        f"GRANT SELECT ON analytics.outbox_other {APP}",
        "analytics.outbox_other: analytics_app may SELECT of a partition",
    ),
    (
        catalogue.grants_stay_small,
        "GRANT UPDATE ON auth.user_ids TO auth_app",
        "auth.user_ids: auth_app may UPDATE",
    ),
    (
        catalogue.keys_begin_with_the_tenant,
        "CREATE TABLE analytics.leak (user_id bigint NOT NULL, x uuid PRIMARY KEY)",
        "analytics.leak: leak_pkey does not begin with user_id",
    ),
    (
        catalogue.keys_begin_with_the_tenant,
        f"{TABLE} CREATE UNIQUE INDEX leak_once ON analytics.leak (leak_id)",
        "analytics.leak: leak_once does not begin with user_id",
    ),
    (
        catalogue.keys_begin_with_the_tenant,
        f"{TABLE} CREATE UNIQUE INDEX leak_once ON analytics.leak ((user_id + 1))",
        "analytics.leak: leak_once does not begin with user_id",
    ),
    (
        catalogue.keys_begin_with_the_tenant,
        "CREATE TABLE analytics.leak (user_id bigint NOT NULL)",
        "analytics.leak: nothing unique does not begin with user_id",
    ),
    (
        catalogue.references_carry_the_tenant,
        f"{TABLE} ALTER TABLE analytics.leak ADD UNIQUE (leak_id); CREATE TABLE analytics.of_leak (user_id bigint "
        "NOT NULL, leak_id uuid NOT NULL REFERENCES analytics.leak (leak_id), PRIMARY KEY (user_id, leak_id))",
        "analytics.of_leak: of_leak_leak_id_fkey does not carry user_id",
    ),
    (
        catalogue.references_carry_the_tenant,
        f"{TABLE} CREATE TABLE analytics.of_leak (user_id bigint PRIMARY KEY, other bigint, leak_id uuid, "
        "FOREIGN KEY (other, leak_id) REFERENCES analytics.leak (user_id, leak_id))",
        "analytics.of_leak: of_leak_other_leak_id_fkey does not carry user_id",
    ),
    (
        catalogue.references_carry_the_tenant,
        f"{TABLE} CREATE TABLE billing.leak (user_id bigint, leak_id uuid, PRIMARY KEY (user_id, leak_id), "
        "FOREIGN KEY (user_id, leak_id) REFERENCES analytics.leak)",
        "billing.leak: leak_user_id_leak_id_fkey crosses a schema",
    ),
    (catalogue.roles_are_small, "ALTER ROLE analytics_app CREATEDB", "analytics_app: may too much"),
    (catalogue.roles_are_small, "ALTER ROLE analytics_app BYPASSRLS", "analytics_app: may too much"),
    (catalogue.roles_are_small, "GRANT billing_app TO analytics_app", "analytics_app: is a member"),
    (catalogue.roles_are_small, "GRANT pg_read_all_data TO analytics_app", "analytics_app: is a member"),
    (
        catalogue.schemas_are_closed,
        f"GRANT CREATE ON SCHEMA analytics {APP}",
        "analytics: analytics_app may create",
    ),
    (catalogue.schemas_are_closed, f"GRANT USAGE ON SCHEMA billing {APP}", "billing: analytics_app may look"),
    (catalogue.schemas_are_closed, "GRANT CREATE ON SCHEMA public TO PUBLIC", "public: analytics_app may create"),
    (
        catalogue.schemas_are_closed,
        "DO $$BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END$$",
        "the database: analytics_app may create",
    ),
    (
        catalogue.definer_functions_are_narrow,
        f"CREATE FUNCTION analytics.leak() RETURNS bigint {DEFINER} AS 'SELECT 1'",
        "analytics.leak: may be called by everybody",
    ),
    (
        catalogue.definer_functions_are_narrow,
        f"CREATE FUNCTION analytics.leak() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; {CLOSED}",
        "analytics.leak: does not fix its search_path",
    ),
    (
        catalogue.definer_functions_are_narrow,
        f"CREATE FUNCTION analytics.leak() RETURNS SETOF analytics.watchlist {DEFINER} "
        f"AS 'SELECT * FROM analytics.watchlist'; {CLOSED}",
        "analytics.leak: answers SETOF",
    ),
    (catalogue.money_is_never_nan, "CREATE TABLE analytics.leak (x numeric)", "analytics.leak: x may be NaN"),
    (catalogue.numbers_and_times_are_exact, "CREATE TABLE analytics.leak (x real)", "analytics.leak: x is real"),
    (catalogue.numbers_and_times_are_exact, "CREATE TABLE analytics.leak (x timestamp)", "analytics.leak: x is"),
]


@pytest.fixture(scope="module")
def scratch(postgres: str, template: DatabaseAccess) -> Iterator[str]:
    """A superuser's DSN for a database of its own; everything created there is rolled back with its transaction."""
    name = f"test_{uuid4().hex[:12]}"
    asyncio.run(copy_template(postgres, template.name, name))
    yield urlsplit(postgres)._replace(path=f"/{name}").geturl()
    asyncio.run(admin_execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def connection(scratch: str, postgres: str) -> AsyncIterator[asyncpg.Connection]:
    guard = await asyncpg.connect(postgres)
    await guard.execute("SELECT pg_advisory_lock_shared(4711)")  # no other test sets up roles meanwhile
    opened = await asyncpg.connect(scratch)
    transaction = opened.transaction()
    await transaction.start()
    try:
        await opened.execute("SET LOCAL search_path = analytics")
        yield opened
    finally:
        await transaction.rollback()
        await opened.close()
        await guard.close()


@pytest.mark.parametrize(
    ("rule", "bad", "expected"), BAD, ids=lambda value: getattr(value, "__name__", str(value)[:60])
)
async def test_each_rule_names_its_fault(
    connection: asyncpg.Connection, rule: Rule, bad: str, expected: str
) -> None:
    before = await rule(connection)
    await connection.execute(bad)
    found = [fault for fault in await rule(connection) if fault not in before]
    assert any(fault.startswith(expected) for fault in found), found


def test_every_rule_has_a_test() -> None:
    assert {rule for rule, _, _ in BAD} == set(catalogue.RULES)
