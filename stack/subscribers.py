"""External subscribers of the topics: users with a password and read access to selected topics."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient

from shared.chassis.events.broker_access import KafkaAccess
from shared.chassis.events.handlers import groups_of
from shared.contracts.catalog import BY_TOPIC
from stack import acl_api
from stack.acl_api import Acl, Operation, Pattern, Resource
from stack.acls import acls_of_subscriber, principal
from stack.failure import BadInput
from stack.kafka import ADMIN
from stack.migrate import SERVICES
from stack.topics import open_admin_client

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")
NO_AUTHORIZER = "this broker has no authorizer: every client may read and write every topic without a user"


@dataclass(frozen=True)
class ExternalReader:
    """A user with READ rights; `groups` are names or prefixes of its consumer groups."""

    user: str
    topics: Sequence[str]
    groups: Sequence[str]


async def add_subscriber(kafka: KafkaAccess, prefix: str, name: str, topics: Sequence[str], group: str) -> str:
    """Create the user and return its password, which is not stored. Raises BadInput, KafkaError."""
    _check_names(name, topics, group)
    async with open_admin_client(kafka) as admin:
        acls = await _existing(admin)
        user = principal(name, prefix)
        if user in await acl_api.list_users(admin) or any(acl.user == user for acl in acls):
            raise BadInput(f"user {user} already exists: see `topics subscriber remove` and `topics password`")
        if owner := _find_overlap(prefix + group, prefix, acls):
            raise BadInput(f"--group {group}: overlaps with the consumer groups of {owner}")
        password = secrets.token_urlsafe(32)
        await acl_api.set_passwords(admin, [(user, password)])
        grants = sorted(acls_of_subscriber(name, topics, group, prefix))
        await acl_api.create_acls(admin, grants)
        await acl_api.wait_until_seen(admin, {user}, created=grants)
        return password


async def remove_subscriber(kafka: KafkaAccess, prefix: str, name: str) -> None:
    """Delete ACLs, then the user, so that open connections lose access at once. Raises BadInput, KafkaError."""
    user = principal(name, prefix)
    _refuse_platform_user(name)
    async with open_admin_client(kafka) as admin:
        acls = [acl for acl in await _existing(admin) if acl.user == user]
        if not acls and user not in await acl_api.list_users(admin):
            raise BadInput(f"no subscriber named {name}")
        await acl_api.delete_acls(admin, acls)
        await acl_api.delete_users(admin, [user])
        await acl_api.wait_until_seen(admin, (), deleted=acls)


async def list_subscribers(kafka: KafkaAccess, prefix: str) -> list[ExternalReader]:
    """Return all users except services that may read one of our topics. Raises BadInput, KafkaError."""
    ours = {principal(service, prefix) for service in SERVICES}
    topics = {prefix + topic for topic in BY_TOPIC}
    async with open_admin_client(kafka) as admin:
        reading = [
            acl for acl in await _existing(admin) if acl.operation is Operation.READ and acl.user not in ours
        ]
    users = sorted({acl.user for acl in reading if acl.resource is Resource.TOPIC and acl.name in topics})
    return [
        ExternalReader(
            user,
            sorted(acl.name for acl in reading if acl.user == user and acl.resource is Resource.TOPIC),
            sorted(acl.name for acl in reading if acl.user == user and acl.resource is Resource.GROUP),
        )
        for user in users
    ]


async def change_password(kafka: KafkaAccess, prefix: str, name: str) -> str:
    """Set and return a new password of a service or subscriber. Open connections stay open.

    Raises BadInput, KafkaError.
    """
    user = principal(name, prefix)
    async with open_admin_client(kafka) as admin:
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
    _refuse_platform_user(name)
    for what, value in (("the name", name), ("--group", group)):
        if not NAME.fullmatch(value):
            raise BadInput(f"{what}: use 2 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit")
    unknown = [topic for topic in topics if topic not in BY_TOPIC]
    if unknown or not topics:
        raise BadInput(f"--topics: {', '.join(unknown) or 'none'}: the topics are {', '.join(sorted(BY_TOPIC))}")


def _refuse_platform_user(name: str) -> None:
    if name in SERVICES or name == ADMIN:
        raise BadInput(f"{name} is a user of the platform itself")


def _find_overlap(group: str, prefix: str, acls: Sequence[Acl]) -> str:
    """Return the user whose consumer groups overlap with this prefix; empty if there is none."""
    for service in SERVICES:
        if any((prefix + own).startswith(group) for own in groups_of(service)):
            return service
    for acl in acls:
        is_group_prefix = acl.resource is Resource.GROUP and acl.pattern is Pattern.PREFIXED
        if is_group_prefix and (acl.name.startswith(group) or group.startswith(acl.name)):
            return acl.user
    return ""
