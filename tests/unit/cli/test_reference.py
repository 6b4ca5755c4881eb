"""The API reference and the list of errors are complete and load nothing from another host."""

import ast
import json
import re
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from cli.errors import errors_command
from shared.chassis.http.openapi import operation_id
from stack.migrate import ROOT
from stack.reference.document import all_endpoints, document_text
from stack.reference.files import write_reference
from stack.reference.problems import list_problems, problem_classes

DOCUMENT: dict[str, Any] = json.loads(document_text())
CADDYFILE = (ROOT / "deploy" / "gateway" / "Caddyfile").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gateway")
    write_reference(folder)
    return folder


def test_the_document_is_valid_openapi() -> None:
    assert faults_of(DOCUMENT) == []


@pytest.mark.parametrize(
    "change",
    [
        {"openapi": "4.0.0"},
        {"paths": {"/x": {"get": {"responses": {"200": {}}}}}},
        {"components": {"schemas": {"X": {"type": "number", "minimum": "1"}}}},
    ],
)
def test_an_invalid_document_is_found(change: dict[str, Any]) -> None:
    assert faults_of({**DOCUMENT, **change})


def faults_of(document: dict[str, Any]) -> list[str]:
    """Return what the schemas of OpenAPI 3.1 and of JSON Schema refuse."""
    faults = [error.message[:200] for error in OPENAPI_31_VALIDATOR.iter_errors(document)]
    schemas = document["components"]["schemas"]
    return faults + [name for name, schema in schemas.items() if not jsonschema_rs.meta.is_valid(schema)]


def test_every_reference_can_be_resolved() -> None:
    for reference in re.findall(r'"\$ref": "([^"]*)"', json.dumps(DOCUMENT)):
        found: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def test_every_operation_has_a_summary() -> None:
    assert all(
        operation["summary"] for operations in DOCUMENT["paths"].values() for operation in operations.values()
    )


def test_the_reference_page_loads_files_that_exist(folder: Path) -> None:
    page, script = ((folder / name).read_text() for name in ("docs.html", "docs/start.js"))
    loaded = re.findall(r'(?:src|href)="/([^"]+)"', page) + re.findall(r'url: "/([^"]+)"', script)
    assert len(loaded) == 5
    assert all((folder / each).stat().st_size for each in loaded)


def test_the_pages_name_no_host_and_have_no_inline_code(folder: Path) -> None:
    for file in ("docs.html", "problems.html", "docs/start.js", "docs/problems.css"):
        assert not re.search(r"https?:|style=|<style|<script>|@import|url\(", (folder / file).read_text()), file


def test_the_style_sheet_of_swagger_ui_loads_only_what_it_contains(folder: Path) -> None:
    sheet = (folder / "docs" / "swagger_style.css").read_text()
    assert "@import" not in sheet
    assert set(re.findall(r'url\("?(\w+:)', sheet)) == {"data:"}
    assert sheet.count("url(") == len(re.findall(r'url\("?data:', sheet))


def test_the_problem_page_shows_every_problem(folder: Path) -> None:
    page = (folder / "problems.html").read_text()
    for problem in list_problems():
        assert f'<tr id="{problem.type}">' in page
        assert escape(problem.title) in page


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
        for operations in DOCUMENT["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if int(status) >= 400
        for name in answer["content"]["application/problem+json"]["schema"]["properties"]["type"]["enum"]
    }
    assert named <= listed


def test_operations_that_create_something_take_an_idempotency_key() -> None:
    for path, operations in DOCUMENT["paths"].items():
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


def test_a_stale_list_of_errors_is_reported(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(errors_command, ["--check"]).exit_code == 0
    assert runner.invoke(errors_command, ["--check", "--output", f"{tmp_path}/stale"]).exit_code == 1
