"""cases/lists-by-name: the cursor after the first alert is accepted in every order by name."""

import json
from pathlib import Path

import pytest

from services.notifications.routes.alerts import AlertBody, AlertsQuery
from shared.chassis.http.paging import decode_sorted, encode_sorted

pytestmark = pytest.mark.beside_checkout


@pytest.mark.parametrize("sort", ["alert_name", "-alert_name"])
def test_the_cursor_of_the_first_page_leads_to_the_second(shared_folder: Path, sort: str) -> None:
    bodies = [
        json.loads((shared_folder / f"cases/lists-by-name/{name}.json").read_text()) for name in ("first", "second")
    ]
    for name in (AlertBody.model_validate(body).alert_name for body in bodies):
        query = AlertsQuery.model_validate({"sort": sort, "cursor": encode_sorted(sort, name)})
        assert decode_sorted(query.sort, query.cursor, str) == (name,)
