"""The activity log: one event for each change that a user makes, in the transaction of the change.

An operation that changes something runs in one transaction together with its event, so the event is published
exactly once if the change commits, and never for a refused one. Public operations (their caller is not known yet)
and those that commit something although they refuse record their activity themselves.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import get_args
from uuid import UUID

from shared.chassis.clock import utc_now
from shared.chassis.events.outbox import bucket_of, outgoing
from shared.chassis.http.app import Call, Endpoint
from shared.chassis.http.client_address import Client, Networks, client_of
from shared.chassis.http.idempotency import IdempotencyKey, StoredAnswer
from shared.chassis.http.openapi import operation_id
from shared.chassis.postgres import Connection
from shared.contracts.activity import ActivityRecorded, Actor, RecordingService
from shared.contracts.types import new_id

FIRST = b'"aggregate_seq":1'
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Activity:
    """One thing that was done: by whom, to which object of which user."""

    user_id: int
    public_id: UUID
    activity_type: str
    client: Client
    at: datetime
    object: str | None = None
    actor: Actor = "USER"


_RECORD = """
    WITH counted AS (
        INSERT INTO activity_counters AS c VALUES ($1, 1)
        ON CONFLICT (user_id) DO UPDATE SET recorded = c.recorded + 1 RETURNING recorded
    )
    INSERT INTO outbox (user_id, bucket, event_id, topic, key, headers, payload)
    SELECT $1, $2, $3, $4, $5, $6, $7 || convert_to('"aggregate_seq":' || recorded, 'UTF8') || $8 FROM counted
"""
# The same, and what `insert_answer` does, in one round trip.
_RECORD_WITH_ANSWER = f"""
    WITH answer AS (
        INSERT INTO idempotency_keys (user_id, key, request_sha256, status, location, body)
        VALUES ($1, $9, $10, $11, $12, $13)
    ), {_RECORD.strip().removeprefix("WITH")}
"""


async def record(
    connection: Connection,
    service: RecordingService,
    activity: Activity,
    key: IdempotencyKey | None = None,
    answer: StoredAnswer | None = None,
) -> None:
    """Publish the activity if this transaction commits, and store the answer of a request with a key.

    Call it last: it locks the user's counter, so the user's other changes wait until the transaction ends.
    """
    event = ActivityRecorded(
        user_id=activity.user_id,
        public_id=activity.public_id,
        aggregate=f"activity:{service}:{activity.public_id}",
        aggregate_seq=1,  # the statement below writes the counter's value in its place
        activity_id=new_id(),
        service=service,
        actor=activity.actor,
        activity_type=activity.activity_type,
        object=activity.object,
        address=activity.client.ip_address,
        user_agent=activity.client.user_agent,
        endpoint=activity.client.endpoint,
        at=activity.at,
    )
    row = outgoing(event, service, utc_now())
    before, after = row.payload.split(FIRST, 1)  # unambiguous: in a text from a client the quotes would be escaped
    arguments = (
        row.user_id,
        bucket_of(row.key),
        row.event_id,
        row.topic,
        row.key,
        row.headers,
        before,
        after,
    )
    if key is None or answer is None:
        await connection.execute(_RECORD, *arguments)
    else:
        of_key = (key.key, key.request_sha256, answer.status, answer.location, answer.body)
        await connection.execute(_RECORD_WITH_ANSWER, *arguments, *of_key)
    connection.note_filled("outbox")


def is_recorded(endpoint: Endpoint) -> bool:
    """Return whether the chassis records the activity of this endpoint."""
    own = endpoint.public or endpoint.internal or endpoint.records_itself or endpoint.events
    return endpoint.method in CHANGING and not own


def with_activity(endpoint: Endpoint, service_name: str, proxies: Networks) -> Endpoint:
    """Return the endpoint; if its activity is recorded, with the function that records it."""
    if not is_recorded(endpoint):
        return endpoint
    service = recording_service(service_name)

    async def record_change(
        connection: Connection, call: Call, location: str | None, answer: StoredAnswer | None
    ) -> None:
        activity = Activity(
            user_id=call.principal.user_id,
            public_id=call.principal.public_id,
            activity_type=operation_id(endpoint).upper(),
            client=client_of(call.request, f"{endpoint.method} {endpoint.path}", proxies),
            at=call.now,
            object=object_of(endpoint.path, call.request.path, location),
        )
        await record(connection, service, activity, call.idempotency_key, answer)

    return replace(endpoint, record=record_change)


def recording_service(name: str) -> RecordingService:
    """Return the service's name as the contract's type. Raises ValueError if it is not one of those."""
    for known in get_args(RecordingService):
        if known == name:
            service: RecordingService = known
            return service
    raise ValueError(f"{name} is not a service that records activity")


def object_of(template: str, path: str, location: str | None) -> str | None:
    """Return the path of the created resource, else the path up to its first id, else None for the caller."""
    if location is not None:
        return location
    head, brace, _ = template.partition("{")
    return "/".join(path.split("/")[: head.count("/") + 1]) if brace else None
