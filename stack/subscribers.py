"""Outside readers of the topics: a user with a password, who may read some topics and nothing else."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient

from cli.failure import BadInput
from shared.chassis.events.broker_access import KafkaAccess
from shared.chassis.events.handlers import groups_of
from shared.contracts.catalog import BY_TOPIC
from stack import acl_api
from stack.acl_api import Acl, Operation, Pattern, Resource
from stack.acls import acls_of_subscriber, principal
from stack.kafka import ADMIN
from stack.migrate import SERVICES
from stack.topics import admin_of

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")
NO_AUTHORIZER = "this broker has no authorizer: every client may read and write every topic, and needs no user"


@dataclass(frozen=True)
class OutsideReader:
    """`group` is what the names of its consumer groups begin with."""

    user: str
    topics: Sequence[str]
    groups: Sequence[str]


async def add_subscriber(kafka: KafkaAccess, prefix: str, name: str, topics: Sequence[str], group: str) -> str:
    """Its new password, which is kept nowhere. Raises BadInput, KafkaError."""
    _check_names(name, topics, group)
    async with admin_of(kafka) as admin:
        acls = await _existing(admin)
        user = principal(name, prefix)
        if user in await acl_api.list_users(admin) or any(acl.user == user for acl in acls):
            raise BadInput(f"there is a user {user} already: `topics subscriber remove`, or `topics password`")
        if rival := _rival(prefix + group, prefix, acls):
            raise BadInput(f"--group {group}: groups of {rival} would be this subscriber's too, or the reverse")
        password = secrets.token_urlsafe(32)
        await acl_api.set_passwords(admin, [(user, password)])
        grants = sorted(acls_of_subscriber(name, topics, group, prefix))
        await acl_api.create_acls(admin, grants)
        await acl_api.wait_until_seen(admin, {user}, created=grants)
        return password


async def remove_subscriber(kafka: KafkaAccess, prefix: str, name: str) -> None:
    """Its ACLs first: what is connected can read nothing from then on. Raises BadInput, KafkaError."""
    user = principal(name, prefix)
    _refuse_ours(name)
    async with admin_of(kafka) as admin:
        acls = [acl for acl in await _existing(admin) if acl.user == user]
        if not acls and user not in await acl_api.list_users(admin):
            raise BadInput(f"there is no subscriber {name}")
        await acl_api.delete_acls(admin, acls)
        await acl_api.delete_users(admin, [user])
        await acl_api.wait_until_seen(admin, (), deleted=acls)


async def list_subscribers(kafka: KafkaAccess, prefix: str) -> list[OutsideReader]:
    """Everybody but the services who may read one of our topics. Raises BadInput, KafkaError."""
    ours = {principal(service, prefix) for service in SERVICES}
    topics = {prefix + topic for topic in BY_TOPIC}
    async with admin_of(kafka) as admin:
        reading = [
            acl for acl in await _existing(admin) if acl.operation is Operation.READ and acl.user not in ours
        ]
    users = sorted({acl.user for acl in reading if acl.resource is Resource.TOPIC and acl.name in topics})
    return [
        OutsideReader(
            user,
            sorted(acl.name for acl in reading if acl.user == user and acl.resource is Resource.TOPIC),
            sorted(acl.name for acl in reading if acl.user == user and acl.resource is Resource.GROUP),
        )
        for user in users
    ]


async def change_password(kafka: KafkaAccess, prefix: str, name: str) -> str:
    """A new one for a service or a subscriber; connections that are open stay so. Raises BadInput, KafkaError."""
    user = principal(name, prefix)
    async with admin_of(kafka) as admin:
        acls = await _existing(admin)
        if name not in SERVICES and not any(acl.user == user for acl in acls):
            raise BadInput(f"{name} is neither a service nor a subscriber")
        password = secrets.token_urlsafe(32)
        await acl_api.set_passwords(admin, [(user, password)])
        return password


async def _existing(admin: AIOKafkaAdminClient) -> list[Acl]:
    acls = await acl_api.describe_acls(admin)
    if acls is None:
        raise BadInput(NO_AUTHORIZER)
    return acls


def _check_names(name: str, topics: Sequence[str], group: str) -> None:
    _refuse_ours(name)
    for what, value in (("the name", name), ("--group", group)):
        if not NAME.fullmatch(value):
            raise BadInput(f"{what}: 2 to 63 of a-z, 0-9, '.', '_' and '-', the first a letter or digit")
    unknown = [topic for topic in topics if topic not in BY_TOPIC]
    if unknown or not topics:
        raise BadInput(f"--topics: {', '.join(unknown) or 'none'}: the topics are {', '.join(sorted(BY_TOPIC))}")


def _refuse_ours(name: str) -> None:
    if name in SERVICES or name == ADMIN:
        raise BadInput(f"{name} is one of the platform's own users")


def _rival(group: str, prefix: str, acls: Sequence[Acl]) -> str:
    """The user whose consumer groups overlap with this prefix; empty if there is none."""
    for service in SERVICES:
        if any((prefix + own).startswith(group) for own in groups_of(service)):
            return service
    for acl in acls:
        of_groups = acl.resource is Resource.GROUP and acl.pattern is Pattern.PREFIXED
        if of_groups and (acl.name.startswith(group) or group.startswith(acl.name)):
            return acl.user
    return ""
