"""The time zones a user may have: the names and the rules of the tzdata package, never those of the host."""

from functools import lru_cache
from importlib.resources import files
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

DEFAULT_ZONE = "UTC"
NO_PLACES = frozenset(("Factory", "localtime", "posixrules"))  # files beside the zones that name no zone

TIME_ZONES = frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split()) - NO_PLACES


def check_zone(name: str) -> str:
    """Raises ValueError for a name that is not on IANA's list, exactly as it is written there."""
    if name not in TIME_ZONES:
        raise ValueError("must be a time zone of the IANA database, such as Europe/Rome")
    return name


ZoneName = Annotated[str, AfterValidator(check_zone)]
"""The same on every way in: a body, an event, an option of a command."""


@lru_cache(maxsize=len(TIME_ZONES))
def load_zone(name: str) -> ZoneInfo:
    """From the package: two hosts cut the same days, whatever their own folders hold. Raises ValueError."""
    with files("tzdata").joinpath("zoneinfo", *check_zone(name).split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def zone_or_default(name: str) -> ZoneInfo:
    """For a name that was stored: UTC where it is on the list no longer, because an answer must not fail for it."""
    return load_zone(name if name in TIME_ZONES else DEFAULT_ZONE)
