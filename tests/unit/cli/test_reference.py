"""The API page and the list of errors are complete and load nothing from elsewhere."""

import ast
import json
import re
from collections import Counter

import pytest
from click.testing import CliRunner

from cli.errors import FILE as ERRORS
from cli.errors import errors_command, list_problems, problem_classes
from cli.openapi import FILE, PAGE, all_endpoints, openapi_command
from shared.chassis.http.openapi import operation_id
from stack.migrate import ROOT

CADDYFILE = (ROOT / "deploy" / "gateway" / "Caddyfile").read_text()


def test_the_page_shows_every_operation_and_every_problem() -> None:
    page = PAGE.read_text()
    for endpoint in all_endpoints():
        if not endpoint.internal:
            assert f'id="{operation_id(endpoint)}"' in page
    for problem in list_problems():
        assert f'id="problem-{problem.type}"' in page


def test_the_page_loads_nothing_from_elsewhere() -> None:
    assert not re.search(r"<script|https?://|@import|url\(", PAGE.read_text())


def test_the_links_of_the_page_can_wrap() -> None:
    """In one line they are wider than a phone."""
    (links,) = re.findall(r"<nav>(.*?)</nav>", PAGE.read_text(), re.DOTALL)
    assert links.count("</a> <a") == links.count("<a") - 1 > 10


def test_the_page_escapes_what_it_shows() -> None:
    inside = re.findall(r"<pre>(.*?)</pre>", PAGE.read_text(), re.DOTALL)
    assert inside
    assert not any("<" in each for each in inside)


def test_operations_have_unique_names() -> None:
    names = [operation_id(endpoint) for endpoint in all_endpoints() if not endpoint.internal]
    assert len(set(names)) == len(names)


def test_no_two_problems_share_a_type() -> None:
    shared = Counter(error.type for error in problem_classes())
    assert [each for each, classes in shared.items() if classes > 1] == []


def test_every_problem_documents_when_it_is_answered() -> None:
    assert [error.__name__ for error in problem_classes() if "__doc__" not in vars(error)] == []


def test_problems_are_defined_where_the_list_looks_for_them() -> None:
    """A class elsewhere would be answered but not listed."""
    names = {error.__name__ for error in problem_classes()}
    for file in [*(ROOT / "services").rglob("*.py"), *(ROOT / "shared").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and names & {ast.unparse(base) for base in node.bases}:
                assert file.name == "errors.py", f"{file}: {node.name}"


def test_every_problem_a_document_names_is_listed() -> None:
    listed = {(f"/problems/{problem.type}", problem.status) for problem in list_problems()}
    named = {
        (name, int(status))
        for operations in json.loads(FILE.read_text())["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if int(status) >= 400
        for name in answer["content"]["application/problem+json"]["schema"]["properties"]["type"]["enum"]
    }
    assert named <= listed


def test_operations_that_create_something_take_an_idempotency_key() -> None:
    document = json.loads(FILE.read_text())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            takes = any(each["name"] == "Idempotency-Key" for each in operation["parameters"])
            assert takes == (method == "post" and not {"201", "202"}.isdisjoint(operation["responses"])), (
                f"{method} {path}"
            )


def test_the_problems_of_the_gateway_are_listed() -> None:
    answered = re.findall(r'^\t+(?:(\d{3})|default) ([a-z-]+) "(.*)"$', CADDYFILE, re.MULTILINE)
    assert len(answered) == 9
    listed = {(each.type, each.title): each.status for each in list_problems()}
    assert all(listed[name, title] == int(status or 500) for status, name, title in answered)


@pytest.mark.parametrize(("command", "file"), [(errors_command, ERRORS), (openapi_command, FILE)])
def test_a_stale_file_is_reported(command: object, file: object, tmp_path: object) -> None:
    runner = CliRunner()
    assert runner.invoke(command, ["--check"]).exit_code == 0  # type: ignore[arg-type]  # a click command
    stale = f"{tmp_path}/stale"
    assert runner.invoke(command, ["--check", "--output", stale]).exit_code == 1  # type: ignore[arg-type]  # as above
