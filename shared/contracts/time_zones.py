"""The time zones that a user may choose: names and rules from the tzdata package, never from the host."""

from functools import lru_cache
from importlib.resources import files
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

DEFAULT_ZONE = "UTC"
NOT_ZONES = frozenset(("Factory", "localtime", "posixrules"))  # files next to the zones that are not zones

TIME_ZONES = frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split()) - NOT_ZONES


def check_zone(name: str) -> str:
    """Raises ValueError for a name that is not in IANA's list with exactly this spelling."""
    if name not in TIME_ZONES:
        raise ValueError("must be a time zone of the IANA database, such as Europe/Rome")
    return name


ZoneName = Annotated[str, AfterValidator(check_zone)]
"""The same rule for every input: bodies, events, command options."""


@lru_cache(maxsize=len(TIME_ZONES))
def load_zone(name: str) -> ZoneInfo:
    """Load a zone from the package, so that all hosts agree on where days begin. Raises ValueError."""
    with files("tzdata").joinpath("zoneinfo", *check_zone(name).split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def zone_or_default(name: str) -> ZoneInfo:
    """Load the zone of a stored name, or UTC if it is no longer in the list: a request must not fail for it."""
    return load_zone(name if name in TIME_ZONES else DEFAULT_ZONE)
