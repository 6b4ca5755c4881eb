"""cases/balances-without-bounds: each body is refused at `$.initial_balance`."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import ValidationError

from services.trading.routes.sessions import StartBody

pytestmark = pytest.mark.beside_checkout


@pytest.mark.parametrize("name", ["session", "twice", "inexact"])
def test_the_balance_is_refused_with_its_path(shared_folder: Path, name: str) -> None:
    body = json.loads((shared_folder / f"cases/balances-without-bounds/{name}.json").read_text())
    with pytest.raises(ValidationError) as refused:
        StartBody.model_validate({**body, "strategy_id": str(uuid4())})
    assert [fault["loc"] for fault in refused.value.errors()] == [("initial_balance",)]
