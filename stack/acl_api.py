"""Kafka requests for ACLs and SCRAM credentials, which aiokafka's admin client does not offer.

aiokafka has the structures of ACL requests, but not those of credentials. Numbers are from Kafka's protocol.
"""

import asyncio
import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, KafkaTimeoutError, SecurityDisabled, for_code
from aiokafka.protocol import admin as structs
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

ITERATIONS = 4_096  # Kafka's minimum: passwords are random, so guessing is not a concern
SCRAM_SHA_512 = 2
NO_SUCH_CREDENTIAL = 91
VISIBLE_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.05

Struct = TypeVar("Struct", bound=RequestStruct)


class Resource(IntEnum):
    ANY, TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID, DELEGATION_TOKEN, USER = range(1, 8)


class Pattern(IntEnum):
    ANY, MATCH, LITERAL, PREFIXED = range(1, 5)


class Operation(IntEnum):
    (ANY, ALL, READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS) = range(1, 11)
    (ALTER_CONFIGS, IDEMPOTENT_WRITE, CREATE_TOKENS, DESCRIBE_TOKENS, TWO_PHASE_COMMIT) = range(11, 16)


class Permission(IntEnum):
    ANY, DENY, ALLOW = range(1, 4)


@dataclass(frozen=True, order=True)
class Acl:
    """Allows `user` one operation on a topic or group, from every host by default."""

    user: str
    resource: Resource
    name: str
    operation: Operation
    pattern: Pattern = Pattern.LITERAL
    permission: Permission = Permission.ALLOW
    host: str = "*"

    def __str__(self) -> str:
        stars = "*" if self.pattern is Pattern.PREFIXED else ""
        word = "may" if self.permission is Permission.ALLOW else "must not"
        host = "" if self.host == "*" else f" from {self.host}"
        action = f"{self.operation.name} {self.resource.name.lower()} {self.name}{stars}"
        return f"{self.user} {word} {action}{host}"

    @property
    def row(self) -> tuple[int, str, int, str, str, int, int]:
        principal = f"User:{self.user}"
        return (
            *(int(self.resource), self.name, int(self.pattern)),
            *(principal, self.host, int(self.operation), int(self.permission)),
        )


class _StructRequest(Request[Struct]):  # type: ignore[misc]  # aiokafka has no types
    """Sends a given structure as it is."""

    API_KEY = -1

    def __init__(self, struct: Struct) -> None:
        self.API_KEY = struct.API_KEY
        self._CLASSES = (type(struct),)
        self._struct = struct

    def build(self, request_struct_class: type[Struct]) -> Struct:
        return self._struct


class _AlterCredentialsAnswer(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY, API_VERSION = 51, 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterCredentials(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION, RESPONSE_TYPE = 51, 0, _AlterCredentialsAnswer
    SCHEMA = Schema(
        (
            "deletions",
            CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields)),
        ),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeCredentialsAnswer(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY, API_VERSION = 50, 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", CompactString("utf-8")),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                (
                    "credentials",
                    CompactArray(("mechanism", Int8), ("iterations", Int32), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeCredentials(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION, RESPONSE_TYPE = 50, 0, _DescribeCredentialsAnswer
    SCHEMA = Schema(
        ("users", CompactArray(("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("tags", TaggedFields),
    )


async def describe_acls(admin: AIOKafkaAdminClient) -> list[Acl] | None:
    """Return all ACLs; None if the cluster has no authorizer, so that every client may do everything."""
    anything = structs.DescribeAclsRequest_v1(
        *(Resource.ANY, None, Pattern.ANY, None, None, Operation.ANY, Permission.ANY)
    )
    answer = await admin._send_request(_StructRequest(anything))
    if answer.error_code == SecurityDisabled.errno:
        return None
    _raise(answer.error_code, answer.error_message)
    return [
        Acl(
            *(principal.removeprefix("User:"), Resource(resource), name, Operation(operation)),
            *(Pattern(pattern), Permission(permission), host),
        )
        for resource, name, pattern, acls in answer.resources
        for principal, host, operation, permission in acls
    ]


async def create_acls(admin: AIOKafkaAdminClient, acls: Sequence[Acl]) -> None:
    """Add these; existing ones are kept. Raises KafkaError."""
    if acls:
        answer = await admin._send_request(_StructRequest(structs.CreateAclsRequest_v1([acl.row for acl in acls])))
        for code, message in answer.creation_responses:
            _raise(code, message)


async def delete_acls(admin: AIOKafkaAdminClient, acls: Sequence[Acl]) -> None:
    """Delete exactly these. Raises KafkaError."""
    if acls:
        answer = await admin._send_request(_StructRequest(structs.DeleteAclsRequest_v1([acl.row for acl in acls])))
        for code, message, _ in answer.filter_responses:
            _raise(code, message)


async def list_users(admin: AIOKafkaAdminClient) -> set[str]:
    """Return the users that have a SCRAM credential. Raises KafkaError."""
    answer = await admin._send_request(_StructRequest(_DescribeCredentials([], {})))
    _raise(answer.error_code, answer.error_message)
    return {result[0] for result in answer.results}


async def set_passwords(admin: AIOKafkaAdminClient, passwords: Sequence[tuple[str, str]]) -> None:
    """Set passwords by user. Open connections stay open; only salted hashes are sent. Raises KafkaError."""
    upsertions: list[Any] = []
    for user, password in passwords:
        salt = os.urandom(32)
        salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
        upsertions.append((user, SCRAM_SHA_512, ITERATIONS, salt, salted, {}))
    await _alter_credentials(admin, [], upsertions)


async def delete_users(admin: AIOKafkaAdminClient, users: Sequence[str]) -> None:
    """Remove these; unknown names are ignored. Raises KafkaError."""
    await _alter_credentials(admin, [(user, SCRAM_SHA_512, {}) for user in users], [])


async def _alter_credentials(admin: AIOKafkaAdminClient, deletions: list[Any], upsertions: list[Any]) -> None:
    # Any: tuples in the order of the structure.
    if not deletions and not upsertions:
        return
    answer = await admin._send_request(_StructRequest(_AlterCredentials(deletions, upsertions, {})))
    for user, code, message, _ in answer.results:
        if code != NO_SUCH_CREDENTIAL:
            _raise(code, f"{user}: {message}")


async def wait_until_seen(
    admin: AIOKafkaAdminClient, users: Collection[str], created: Collection[Acl] = (), deleted: Collection[Acl] = ()
) -> None:
    """Wait until acknowledged changes take effect, which takes a moment. Raises KafkaTimeoutError."""
    try:
        async with asyncio.timeout(VISIBLE_TIMEOUT_S):
            while True:
                acls = set(await describe_acls(admin) or ())
                if acls.issuperset(created) and acls.isdisjoint(deleted) and await list_users(admin) >= set(users):
                    return
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError as error:
        raise KafkaTimeoutError("the broker accepted ACLs and users but does not show them") from error


def _raise(code: int, message: str | None) -> None:
    if code:
        error: KafkaError = for_code(code)(message or "")
        raise error
