"""Registrations counted per network."""

from datetime import datetime

from services.auth.domain.registrations import RegistrationCount
from shared.chassis.postgres import Connection


async def find_registration_count(connection: Connection, network: str) -> RegistrationCount | None:
    row = await connection.fetchrow(
        """
        SELECT network::text, hour_began, in_hour, day_began, in_day, trials_in_day FROM registrations
        WHERE network = $1::text::cidr
        """,
        network,
    )
    return None if row is None else RegistrationCount(*row)


async def lock_registration_count(connection: Connection, network: str, now: datetime) -> RegistrationCount:
    """Lock the network's row until the transaction ends, creating it if it is missing."""
    row = await connection.fetchrow(
        """
        INSERT INTO registrations AS r VALUES ($1::text::cidr, $2, 0, $2, 0, 0)
        ON CONFLICT (network) DO UPDATE SET in_hour = r.in_hour
        RETURNING network::text, hour_began, in_hour, day_began, in_day, trials_in_day
        """,
        network,
        now,
    )
    return RegistrationCount(*row)


async def update_registration_count(connection: Connection, count: RegistrationCount) -> None:
    await connection.execute(
        """
        UPDATE registrations SET hour_began = $2, in_hour = $3, day_began = $4, in_day = $5, trials_in_day = $6
        WHERE network = $1::text::cidr
        """,
        count.network,
        count.hour_began,
        count.in_hour,
        count.day_began,
        count.in_day,
        count.trials_in_day,
    )


async def delete_expired_registrations(connection: Connection, before: datetime) -> int:
    """Delete networks whose day began before `before`. Returns the count."""
    tag: str = await connection.execute("DELETE FROM registrations WHERE day_began < $1", before)
    return int(tag.split()[-1])
