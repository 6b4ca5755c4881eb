"""A file that Debian puts beside the zones is not a zone; `zone-of-the-machine` registers with one."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.auth.routes.logins import RegisterBody

pytestmark = pytest.mark.beside_checkout


def test_the_zone_of_the_host_is_refused_with_its_reason(shared_folder: Path) -> None:
    body = json.loads((shared_folder / "cases/zone-of-the-machine/body.json").read_text())
    with pytest.raises(ValidationError, match="must be a time zone of the IANA database") as refused:
        RegisterBody.model_validate_json(json.dumps(body))
    assert [fault["loc"] for fault in refused.value.errors()] == [("timezone",)]
