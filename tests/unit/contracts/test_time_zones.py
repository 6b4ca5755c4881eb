"""Time zones come from the tzdata package, never from the files of the host."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.contracts.auth import UserRegistered, UserUpdated
from shared.contracts.time_zones import TIME_ZONES, check_zone, load_zone, zone_or_default
from shared.contracts.types import new_id
from stack.migrate import ROOT

NO_ZONES = [
    "",
    "localtime",
    "Factory",
    "posixrules",
    "Europe",
    "Europe/",
    "/Europe/Rome",
    "Europe//Rome",
    "Europe/../Europe/Rome",
    "europe/rome",
    "EUROPE/ROME",
    "utc",
    " UTC",
    "UTC\n",
    "Europe/Rome\x00",
    "../../etc/passwd",
    "/etc/localtime",
    "posix/Europe/Rome",
    "right/Europe/Rome",
    "tzdata.zi",
    "zone.tab",
    "+02:00",
    "UTC+2",
    "Mars/Base",
    "Europe/Róme",
    "x" * 10_000,
]


@pytest.mark.parametrize("name", NO_ZONES)
def test_an_invalid_zone_is_refused_everywhere(name: str) -> None:
    with pytest.raises(ValueError, match="IANA"):
        check_zone(name)
    with pytest.raises(ValueError, match="IANA"):
        load_zone(name)
    assert str(zone_or_default(name)) == "UTC"
    for event in (UserRegistered, UserUpdated):
        with pytest.raises(ValidationError, match="IANA"):
            event(
                user_id=1,
                public_id=new_id(),
                aggregate="user:1",
                aggregate_seq=1,
                email="a@b.org",
                timezone=name,
                language="en",
                is_active=True,
            )


def test_every_zone_of_the_list_can_be_loaded() -> None:
    moment = datetime(2026, 7, 1, tzinfo=UTC)
    assert len(TIME_ZONES) > 590
    for name in TIME_ZONES:
        assert moment.astimezone(load_zone(name)).utcoffset() is not None, name
        assert str(load_zone(name)) == name


def test_the_rules_of_a_zone_come_from_the_package_and_not_from_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe/Rome").write_bytes(b"not the rules of Rome")
    monkeypatch.setattr("zoneinfo.TZPATH", (str(tmp_path),))
    load_zone.cache_clear()
    assert datetime(2026, 7, 1, tzinfo=UTC).astimezone(load_zone("Europe/Rome")).hour == 2


def test_product_code_loads_zones_only_through_time_zones() -> None:
    wrong = re.compile(r"\bZoneInfo\(|available_timezones|\bzoneinfo\.")
    files = [file for folder in ("services", "shared", "cli", "sandbox") for file in (ROOT / folder).rglob("*.py")]
    found = [str(file) for file in files if file.name != "time_zones.py" and wrong.search(file.read_text())]
    assert found == []
    assert wrong.search("zone = ZoneInfo(name)")
