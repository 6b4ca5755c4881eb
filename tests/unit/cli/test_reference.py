"""The page of the API and the list of errors hold what the code says, and nothing from elsewhere."""

import json
import re

import pytest
from click.testing import CliRunner

from cli.errors import FILE as ERRORS
from cli.errors import GATEWAY, errors_command, listing, problems
from cli.openapi import FILE, PAGE, all_endpoints, openapi_command
from cli.stack.migrate import ROOT
from shared.chassis.openapi import operation_id

CADDYFILE = (ROOT / "deploy" / "gateway" / "Caddyfile").read_text()


def test_the_page_shows_every_operation_and_every_problem() -> None:
    page = PAGE.read_text()
    for endpoint in all_endpoints():
        if not endpoint.internal:
            assert f'id="{operation_id(endpoint)}"' in page
    for problem in problems():
        assert f'id="problem-{problem.type}"' in page


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    assert not re.search(r"<script|https?://|@import|url\(", PAGE.read_text())


def test_the_page_escapes_what_it_shows() -> None:
    inside = re.findall(r"<pre>(.*?)</pre>", PAGE.read_text(), re.DOTALL)
    assert inside
    assert not any("<" in each for each in inside)


def test_operations_have_names_of_their_own() -> None:
    names = [operation_id(endpoint) for endpoint in all_endpoints() if not endpoint.internal]
    assert len(set(names)) == len(names)


def test_a_type_has_one_status() -> None:
    types = [problem.type for problem in problems()]
    assert len(set(types)) == len(types)


def test_every_problem_a_document_names_is_listed() -> None:
    statuses = {problem.status for problem in problems()}
    for operations in json.loads(FILE.read_text())["paths"].values():
        for operation in operations.values():
            assert {int(status) for status in operation["responses"] if int(status) >= 400} <= statuses


def test_what_makes_something_takes_a_key() -> None:
    document = json.loads(FILE.read_text())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            takes = any(each["name"] == "Idempotency-Key" for each in operation["parameters"])
            assert takes == (method == "post" and "201" in operation["responses"]), f"{method} {path}"


def test_the_gateways_own_problems_are_listed() -> None:
    assert '"type": "/problems/{err.status_code}"' in CADDYFILE
    assert all(f"| `/problems/{name}` | {status} |" in listing() for name, status, _ in GATEWAY)


@pytest.mark.parametrize(("command", "file"), [(errors_command, ERRORS), (openapi_command, FILE)])
def test_a_stale_file_is_told(command: object, file: object, tmp_path: object) -> None:
    runner = CliRunner()
    assert runner.invoke(command, ["--check"]).exit_code == 0  # type: ignore[arg-type]  # a click command
    stale = f"{tmp_path}/stale"
    assert runner.invoke(command, ["--check", "--output", stale]).exit_code == 1  # type: ignore[arg-type]  # as above
