"""ACLs and users of the broker: expected ones compared with existing ones, and applying the differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient

from shared.chassis.events.broker_access import KafkaAccess
from stack import acl_api
from stack.acl_api import Acl, Pattern, Resource
from stack.acls import acls_of, principal
from stack.migrate import SERVICES
from stack.topics import open_admin_client, topics_of


@dataclass(frozen=True)
class Grants:
    """`others` are ACLs on our topics that no contract defines, such as those of subscribers; left unchanged."""

    authorizer: bool = False
    missing: Sequence[Acl] = ()
    superfluous: Sequence[Acl] = ()
    others: Sequence[Acl] = ()
    users_missing: Sequence[str] = field(default=())

    @property
    def differ(self) -> bool:
        return bool(self.missing or self.superfluous or self.users_missing)


async def plan_grants(kafka: KafkaAccess | str, prefix: str) -> Grants:
    """Return the differences between expected and existing grants. Raises KafkaError."""
    async with open_admin_client(kafka) as admin:
        return await _plan(admin, prefix)


async def apply_grants(kafka: KafkaAccess | str, prefix: str, passwords: Mapping[str, str] | None = None) -> Grants:
    """Apply the differences and return them; sets `passwords` of services if given.

    Does not create users for which no password is given: see `tradefleet topics password`. Raises KafkaError.
    """
    async with open_admin_client(kafka) as admin:
        plan = await _plan(admin, prefix)
        if plan.authorizer:
            credentials = [(principal(name, prefix), password) for name, password in (passwords or {}).items()]
            await acl_api.set_passwords(admin, credentials)
            await acl_api.create_acls(admin, plan.missing)
            await acl_api.delete_acls(admin, plan.superfluous)
            await acl_api.wait_until_seen(
                admin, {user for user, _ in credentials}, created=plan.missing, deleted=plan.superfluous
            )
        return plan


async def remove_grants(kafka: KafkaAccess | str, prefix: str) -> None:
    """Remove all ACLs and users of the services with this prefix. Raises KafkaError."""
    async with open_admin_client(kafka) as admin:
        ours = {principal(service, prefix) for service in SERVICES}
        acls = await acl_api.describe_acls(admin)
        if acls is not None:
            await acl_api.delete_acls(admin, [acl for acl in acls if acl.user in ours])
            await acl_api.delete_users(admin, sorted(ours))


async def _plan(admin: AIOKafkaAdminClient, prefix: str) -> Grants:
    existing = await acl_api.describe_acls(admin)
    if existing is None:
        return Grants()
    expected = acls_of(prefix)
    ours = {principal(service, prefix) for service in SERVICES}
    topics = {topic.name for topic in topics_of(prefix=prefix)}
    present = set(existing)
    return Grants(
        authorizer=True,
        missing=sorted(expected - present),
        superfluous=sorted(acl for acl in present - expected if acl.user in ours),
        others=sorted(acl for acl in present if acl.user not in ours and _applies_to(acl, topics)),
        users_missing=sorted(ours - await acl_api.list_users(admin)),
    )


def _applies_to(acl: Acl, topics: set[str]) -> bool:
    if acl.resource is not Resource.TOPIC:
        return False
    if acl.pattern is Pattern.PREFIXED:
        return any(topic.startswith(acl.name) for topic in topics)
    return acl.name == "*" or acl.name in topics
