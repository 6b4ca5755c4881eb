"""Rules of tenant isolation: functions that read a database's catalogue and return faults, each naming the object
at fault. Tested in test_catalogue_rules.py."""

from collections.abc import Awaitable, Callable

import asyncpg

from shared.contracts.market import MarketInterest
from stack.migrate import OWNER, ROLES, SERVICES
from stack.topic_clients import senders

Rule = Callable[[asyncpg.Connection], Awaitable[list[str]]]

# Tables that the queue role reads across tenants; there are no others.
QUEUES = {"outbox", "parked", "market_interests", "session_leases", "subscription_deadlines", "user_rounds"}
QUEUES |= {"backtest_jobs", "backtest_turns", "stale_days", "exchange_account_checks"}
# Maps a hashed value to a user id; read through one function each, without any grant.
LOCATOR = "locator"
# Tables without a tenant. Every table that is not listed here must belong to a tenant.
SHARED_TABLES = {
    *(f"{service}.published_interests" for service in senders(MarketInterest)),
    *(
        f"{service}.{name}"
        for service in SERVICES
        for name in ("event_broker", "read_positions", "schema_migrations")
    ),
    "billing.subscription_plans",
    "auth.attempts",
    "auth.registrations",
    *(f"trading.{name}" for name in ("instruments", "series", "candles", "feed_lease", "workers")),
    "trading.egress_budgets",
    "trading.published_strategies",
    "trading.platform_kill_switches",
}
PRIVILEGES = {"SELECT", "INSERT", "UPDATE", "DELETE"}
LOGINS = {f"{service}_{role}" for service in SERVICES for role in ROLES}
# As Postgres prints them. A policy must equal one of these exactly: `OR true` would make it none.
POLICIES = {
    "one_tenant": (
        "app",
        "(user_id = ( SELECT (NULLIF(current_setting('app.user_id'::text, true), ''::text))::bigint "
        'AS "nullif"))',
    ),
    "tenants_of_batch": (
        "worker",
        "(user_id IN ( SELECT unnest((string_to_array(NULLIF(current_setting('app.user_ids'::text, true), "
        "''::text), ','::text))::bigint[]) AS unnest))",
    ),
    "queue": ("queue", "true"),
}
# The result types allowed for a function that runs as its owner: one id, one number, whether it did something, or
# what it did.
DEFINER_RESULTS = {"bigint", "boolean", "void", "trigger", "double precision", "SETOF text"}

IN_SERVICES = f"n.nspname IN ({', '.join(repr(service) for service in SERVICES)})"
HAS_TENANT = "EXISTS (SELECT FROM pg_attribute x WHERE x.attrelid = c.oid AND x.attname = 'user_id')"
RELATIONS = f"""
    SELECT n.nspname || '.' || c.relname AS name, n.nspname AS service, c.relname, c.relkind::text AS kind,
           c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced, c.relispartition AS is_partition,
           c.reloptions AS options, {HAS_TENANT} AS of_tenant
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {IN_SERVICES} ORDER BY 1
"""
# Table and column grants, including those to PUBLIC, which information_schema omits.
GRANTS = f"""
    SELECT n.nspname || '.' || c.relname AS name, n.nspname AS service, c.relname, c.relkind::text AS kind,
           c.relispartition AS is_partition, {HAS_TENANT} AS of_tenant, g.privilege_type AS privilege,
           CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END AS grantee
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         CROSS JOIN LATERAL (
             SELECT * FROM aclexplode(c.relacl)
             UNION ALL SELECT e.* FROM pg_attribute a, aclexplode(a.attacl) AS e WHERE a.attrelid = c.oid
         ) AS g
    WHERE {IN_SERVICES} AND g.grantee <> '{OWNER}'::regrole ORDER BY 1
"""


async def tenant_tables_are_forced(connection: asyncpg.Connection) -> list[str]:
    """Row-level security is on for every tenant table and its partitions, and also binds the owner."""
    return [
        f"{row['name']}: row-level security is not {'forced' if row['enabled'] else 'on'}"
        for row in await connection.fetch(RELATIONS)
        if row["kind"] in "rp" and row["of_tenant"] and LOCATOR not in row["relname"]
        if not (row["enabled"] and row["forced"])
    ]


async def tables_are_a_tenants_or_listed(connection: asyncpg.Connection) -> list[str]:
    rows = [row for row in await connection.fetch(RELATIONS) if row["kind"] in "rpf"]
    return [
        f"{row['name']}: has no user_id, and is not listed as shared"
        for row in rows
        if not row["of_tenant"] and row["name"] not in SHARED_TABLES
    ] + [f"{row['name']}: is a foreign table" for row in rows if row["kind"] == "f"]


async def tenants_are_bigint_and_never_null(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        f"""
        SELECT n.nspname || '.' || c.relname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {IN_SERVICES} AND c.relkind IN ('r', 'p') AND a.attname = 'user_id'
              AND NOT (a.attnotnull AND a.atttypid = 'bigint'::regtype)
        """
    )
    return [f"{row['name']}: user_id is not a bigint that is never null" for row in rows]


async def views_run_as_the_caller(connection: asyncpg.Connection) -> list[str]:
    """Without security_invoker a view runs as its owner, who sees all rows; a materialized view always does."""
    return [
        f"{row['name']}: is a {'materialized view' if row['kind'] == 'm' else 'view without security_invoker'}"
        for row in await connection.fetch(RELATIONS)
        if row["kind"] == "m" or (row["kind"] == "v" and "security_invoker=true" not in (row["options"] or []))
    ]


async def policies_are_one_of_three(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        """
        SELECT schemaname AS service, tablename, policyname, roles::text[] AS roles, qual, with_check, cmd
        FROM pg_policies WHERE schemaname = ANY ($1::text[])
        """,
        SERVICES,
    )
    faults = []
    for row in rows:
        role, text = POLICIES.get(row["policyname"], ("", ""))
        name = f"{row['service']}.{row['tablename']}: policy {row['policyname']}"
        if row["cmd"] != "ALL" or row["qual"] != text or row["with_check"] != text:
            faults.append(f"{name} is none of the three")
        elif row["roles"] != [f"{row['service']}_{role}"]:
            faults.append(f"{name} is of {', '.join(row['roles'])}")
        elif role == "queue" and row["tablename"] not in QUEUES:
            faults.append(f"{name} shows all tenants, and this is no queue")
    return faults


async def grants_come_with_a_policy(connection: asyncpg.Connection) -> list[str]:
    """Without a policy the role silently sees no rows; a tenant table that is granted to no role is unused."""
    of = {
        (f"{row['schemaname']}.{row['tablename']}", role)
        for row in await connection.fetch("SELECT schemaname, tablename, roles::text[] AS roles FROM pg_policies")
        for role in row["roles"]
    }
    grants = [row for row in await connection.fetch(GRANTS) if row["of_tenant"] and row["kind"] in "rp"]
    granted = {row["name"] for row in grants}
    faults = {
        f"{row['name']}: {row['grantee']} may {row['privilege']} and has no policy"
        for row in grants
        if (row["name"], row["grantee"]) not in of
    }
    for row in await connection.fetch(RELATIONS):
        is_own = row["kind"] in "rp" and row["of_tenant"] and not row["is_partition"]
        if is_own and LOCATOR not in row["relname"] and row["name"] not in granted:
            faults.add(f"{row['name']}: is granted to no role")
    return sorted(faults)


async def grants_stay_small(connection: asyncpg.Connection) -> list[str]:
    """Only the service's own three roles, only four privileges; nothing on locators and partitions, nothing to
    PUBLIC."""
    faults = set()
    for row in await connection.fetch(GRANTS):
        what = f"{row['name']}: {row['grantee']} may {row['privilege']}"
        if row["grantee"] not in {f"{row['service']}_{role}" for role in ROLES}:
            faults.add(f"{what}, which is of another service or of everybody")
        if row["kind"] == "S":
            if row["privilege"] not in ("USAGE", "SELECT"):
                faults.add(f"{what} of a sequence")
        elif row["privilege"] not in PRIVILEGES:
            faults.add(f"{what}, which is more than reading and writing")
        elif LOCATOR in row["relname"] or row["is_partition"]:
            faults.add(f"{what} of a {'partition' if row['is_partition'] else 'locator'}")
    return sorted(faults)


async def keys_begin_with_the_tenant(connection: asyncpg.Connection) -> list[str]:
    """Applies to primary keys and all unique indexes; every table has a primary key."""
    rows = await connection.fetch(
        f"""
        SELECT n.nspname || '.' || c.relname AS name, x.relname AS key, a.attname::text AS first
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique
             LEFT JOIN pg_class x ON x.oid = i.indexrelid
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
        WHERE {IN_SERVICES} AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND {HAS_TENANT}
              AND c.relname NOT LIKE '%{LOCATOR}%'
        """
    )
    return [f"{row['name']}: {row['key'] or 'nothing unique'} does not begin with user_id" for row in rows
            if row["first"] != "user_id"]  # fmt: skip


async def references_carry_the_tenant(connection: asyncpg.Connection) -> list[str]:
    """A reference includes user_id on both sides and stays within one schema."""
    rows = await connection.fetch(
        f"""
        SELECT n.nspname || '.' || c.relname AS name, k.conname, c.relnamespace <> r.relnamespace AS crosses,
               EXISTS (SELECT FROM pg_attribute x WHERE x.attrelid = r.oid AND x.attname = 'user_id') AS to_tenant,
               EXISTS (SELECT FROM unnest(k.conkey, k.confkey) AS pair (here, there)
                       JOIN pg_attribute h ON h.attrelid = c.oid AND h.attnum = here AND h.attname = 'user_id'
                       JOIN pg_attribute t ON t.attrelid = r.oid AND t.attnum = there AND t.attname = 'user_id')
                   AS carries
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f' AND {IN_SERVICES}
        """
    )
    return [
        f"{row['name']}: {row['conname']} {'crosses a schema' if row['crosses'] else 'does not carry user_id'}"
        for row in rows
        if row["crosses"] or (row["to_tenant"] and not row["carries"])
    ]


async def roles_are_small(connection: asyncpg.Connection) -> list[str]:
    """Each role exists, has no attributes of its own, is a member of no role and has no members."""
    rows = await connection.fetch(
        """
        SELECT rolname, rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole OR rolinherit OR rolreplication
                        AS may_much,
               EXISTS (SELECT FROM pg_auth_members m WHERE r.oid IN (m.member, m.roleid)) AS is_member
        FROM pg_roles r WHERE rolname = ANY ($1::text[])
        """,
        sorted(LOGINS),
    )
    faults = [f"{name}: is missing" for name in sorted(LOGINS - {row["rolname"] for row in rows})]
    faults += [f"{row['rolname']}: may too much" for row in rows if row["may_much"]]
    return faults + [f"{row['rolname']}: is a member of a role, or has one" for row in rows if row["is_member"]]


async def schemas_are_closed(connection: asyncpg.Connection) -> list[str]:
    """A service's roles can use their own schema only, and create objects nowhere."""
    rows = await connection.fetch(
        """
        SELECT n.nspname AS name, r.rolname AS role, has_schema_privilege(r.rolname, n.oid, 'USAGE') AS usage,
               has_schema_privilege(r.rolname, n.oid, 'CREATE') AS creates
        FROM pg_namespace n, pg_roles r
        WHERE (n.nspname = ANY ($1::text[]) OR n.nspname = 'public') AND r.rolname = ANY ($2::text[])
        """,
        SERVICES,
        sorted(LOGINS),
    )
    database = await connection.fetch(
        """
        SELECT rolname AS role FROM pg_roles WHERE rolname = ANY ($1::text[])
               AND (has_database_privilege(rolname, current_database(), 'CREATE')
                    OR has_database_privilege(rolname, current_database(), 'TEMPORARY'))
        """,
        sorted(LOGINS),
    )
    faults = [f"{row['name']}: {row['role']} may create in it" for row in rows if row["creates"]]
    faults += [
        f"{row['name']}: {row['role']} may look into it"
        for row in rows
        if row["usage"] and row["name"] != "public" and row["role"].rpartition("_")[0] != row["name"]
    ]
    return faults + [f"the database: {row['role']} may create schemas or temporary tables" for row in database]


async def definer_functions_are_narrow(connection: asyncpg.Connection) -> list[str]:
    """They run as the owner: a fixed search_path, no EXECUTE for PUBLIC, and one small result."""
    rows = await connection.fetch(
        f"""
        SELECT n.nspname || '.' || p.proname AS name, n.nspname AS service, p.proconfig AS settings,
               has_function_privilege('public', p.oid, 'EXECUTE') AS public, pg_get_function_result(p.oid) AS result
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.prosecdef AND ({IN_SERVICES} OR n.nspname = 'public')
        """
    )
    faults = []
    for row in rows:
        if f"search_path={row['service']}, pg_temp" not in (row["settings"] or []):
            faults.append(f"{row['name']}: does not fix its search_path")
        if row["public"]:
            faults.append(f"{row['name']}: may be called by everybody")
        if row["result"] not in DEFINER_RESULTS:
            faults.append(f"{row['name']}: answers {row['result']}, not one id")
    return faults


async def money_is_never_nan(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        f"""
        SELECT n.nspname || '.' || c.relname AS name, a.attname
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {IN_SERVICES} AND a.atttypid = 'numeric'::regtype AND c.relkind IN ('r', 'p')
              AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'
                              AND a.attnum = ANY (k.conkey) AND pg_get_constraintdef(k.oid) LIKE '%NaN%')
        """
    )
    return [f"{row['name']}: {row['attname']} may be NaN" for row in rows]


async def numbers_and_times_are_exact(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        """
        SELECT table_schema || '.' || table_name AS name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = ANY ($1::text[])
              AND data_type IN ('real', 'double precision', 'money', 'timestamp without time zone')
        """,
        SERVICES,
    )
    return [f"{row['name']}: {row['column_name']} is {row['data_type']}" for row in rows]


RULES: tuple[Rule, ...] = (
    tenant_tables_are_forced,
    tables_are_a_tenants_or_listed,
    tenants_are_bigint_and_never_null,
    views_run_as_the_caller,
    policies_are_one_of_three,
    grants_come_with_a_policy,
    grants_stay_small,
    keys_begin_with_the_tenant,
    references_carry_the_tenant,
    roles_are_small,
    schemas_are_closed,
    definer_functions_are_narrow,
    money_is_never_nan,
    numbers_and_times_are_exact,
)
