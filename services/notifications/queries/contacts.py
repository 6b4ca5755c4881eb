"""Recipients: language and time zone as auth last published them, and their preferences."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.notifications.domain.kinds import Kind, Preference, read_preferences
from shared.chassis.postgres import Connection


class ContactEvent(Protocol):
    """The fields of `user.registered` and `user.updated` that are stored."""

    @property
    def user_id(self) -> int: ...
    @property
    def aggregate_seq(self) -> int: ...
    @property
    def email(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def timezone(self) -> str: ...
    @property
    def is_active(self) -> bool: ...


@dataclass(frozen=True)
class Recipient:
    """Language and time zone are None until an event of the user was consumed."""

    language: str | None
    timezone: str | None
    preferences: Mapping[Kind, Preference]


async def upsert_contacts(connection: Connection, events: Sequence[ContactEvent]) -> None:
    """Store contacts; events older than the stored version are ignored."""
    latest = {event.user_id: event for event in sorted(events, key=lambda event: event.aggregate_seq)}
    await connection.execute(
        """
        INSERT INTO contacts (user_id, contact_version, email, language, timezone, is_active)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::boolean[])
        ON CONFLICT (user_id) DO UPDATE SET contact_version = excluded.contact_version, email = excluded.email,
            language = excluded.language, timezone = excluded.timezone, is_active = excluded.is_active
        WHERE contacts.contact_version < excluded.contact_version
        """,
        [event.user_id for event in latest.values()],
        [event.aggregate_seq for event in latest.values()],
        [event.email for event in latest.values()],
        [event.language for event in latest.values()],
        [event.timezone for event in latest.values()],
        [event.is_active for event in latest.values()],
    )


async def list_recipients(connection: Connection, users: Collection[int]) -> dict[int, Recipient]:
    """Return a recipient for each user, also for users without a stored contact."""
    rows = await connection.fetch(
        """
        SELECT u AS user_id, c.language, c.timezone, p.kinds FROM unnest($1::bigint[]) AS u
        LEFT JOIN contacts c ON c.user_id = u LEFT JOIN inbox_preferences p ON p.user_id = u
        """,
        list(users),
    )
    return {
        row["user_id"]: Recipient(row["language"], row["timezone"], read_preferences(row["kinds"] or {}))
        for row in rows
    }
