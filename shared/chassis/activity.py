"""What people do is recorded: one event for each change, in the transaction that makes it.

An operation of a person's that changes something is one transaction here, with the event about it: it is said
exactly once if the change is made, and never of what was refused. What is public (there is nobody yet who does it),
and what has to commit something although it refuses, records by itself.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import get_args
from uuid import UUID

from shared.chassis.clock import utc_now
from shared.chassis.events.outbox import bucket_of, outgoing
from shared.chassis.http.app import Answered, Call, Endpoint, Reply
from shared.chassis.http.client_address import Client, Networks, client_of
from shared.chassis.http.openapi import operation_id
from shared.chassis.postgres import Connection, Database
from shared.contracts.activity import ActivityRecorded, Actor, Recording
from shared.contracts.types import new_id

FIRST = b'"aggregate_seq":1'
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Activity:
    """What was done, to what of whose, by whom."""

    user_id: int
    public_id: UUID
    activity_type: str
    client: Client
    at: datetime
    object: str | None = None
    actor: Actor = "USER"


async def record(connection: Connection, service: Recording, activity: Activity) -> None:
    """Say it if this transaction commits. The last thing in it: from here on the user's other changes wait."""
    said = ActivityRecorded(
        user_id=activity.user_id,
        public_id=activity.public_id,
        aggregate=f"activity:{service}:{activity.public_id}",
        aggregate_seq=1,  # or whichever it turns out to be
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
    row = outgoing(said, service, utc_now())
    before, after = row.payload.split(FIRST, 1)  # in a text of somebody's choice the quotes would be escaped
    await connection.execute(
        """
        WITH counted AS (
            INSERT INTO activity_counters AS c VALUES ($1, 1)
            ON CONFLICT (user_id) DO UPDATE SET recorded = c.recorded + 1 RETURNING recorded
        )
        INSERT INTO outbox (user_id, bucket, event_id, topic, key, headers, payload)
        SELECT $1, $2, $3, $4, $5, $6, $7 || convert_to('"aggregate_seq":' || recorded, 'UTF8') || $8 FROM counted
        """,
        row.user_id,
        bucket_of(row.key),
        row.event_id,
        row.topic,
        row.key,
        row.headers,
        before,
        after,
    )


def is_recorded(endpoint: Endpoint) -> bool:
    """Whether the chassis does it."""
    own = endpoint.public or endpoint.internal or endpoint.records_itself or endpoint.events
    return endpoint.method in CHANGING and not own


class Recorder:
    """Records what is done through one service's operations."""

    def __init__(self, database: Database, service: str, proxies: Networks) -> None:
        self._database = database
        self._service = service
        self._proxies = proxies

    def recording(self, endpoint: Endpoint) -> Endpoint:
        """The same operation, recorded where it is one of those that are."""
        if not is_recorded(endpoint):
            return endpoint
        service = recording_service(self._service)

        async def handle(call: Call) -> Answered:
            async with self._database.as_one(call.principal.user_id) as whole:
                answer = await endpoint.handler(call)
                await record(await whole.connection(), service, self._activity(endpoint, call, answer))
            return answer

        return replace(endpoint, handler=handle)

    def _activity(self, endpoint: Endpoint, call: Call, answer: Answered) -> Activity:
        return Activity(
            user_id=call.principal.user_id,
            public_id=call.principal.public_id,
            activity_type=operation_id(endpoint).upper(),
            client=client_of(call.request, f"{endpoint.method} {endpoint.path}", self._proxies),
            at=call.now,
            object=object_of(endpoint.path, call.request.path, answer),
        )


def recording_service(name: str) -> Recording:
    """Raises ValueError for a name that the contract does not know."""
    for known in get_args(Recording):
        if known == name:
            service: Recording = known
            return service
    raise ValueError(f"{name} is no service whose activity is heard")


def object_of(template: str, path: str, answer: Answered) -> str | None:
    """What was made, or else what the first id of the path names, or else nothing but the caller himself."""
    if isinstance(answer, Reply) and "Location" in answer.headers:
        return answer.headers["Location"]
    head, brace, _ = template.partition("{")
    return "/".join(path.split("/")[: head.count("/") + 1]) if brace else None
