"""Each running service behaves exactly as its OpenAPI document says: schemathesis tests it.

An operation with a body gets 40 examples, or 100 if TRADEFLEET_TEST_FULL is set. HOSTILE_EXAMPLES sets another
number, HOSTILE_SEED another seed than the fixed one. Less varies in a query, of which the same code reads all, and
little in a path: they get fewer examples.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any  # the report of another program

import pytest
import requests

from shared.testing.api_client import PASSWORD, Json
from shared.testing.tenant import bodies_of
from stack.migrate import ROOT, SERVICES
from tests.hostile import table
from tests.hostile.world import EMAIL, Process, World
from tests.pace import FULL, patient
from tests.unit.trading.scenes import CROSS

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "100" if FULL else "40"))
EXAMPLES_OF = {"body": EXAMPLES, "query": EXAMPLES * 2 // 5, "path": EXAMPLES // 5}
SEED = os.environ.get("HOSTILE_SEED")
MAX_RUNS = 4  # Hypothesis gives up an operation whose inputs it has to reject too often; another seed goes on
CONFIG = Path(__file__).with_name("schemathesis.toml")
# Operations to which a valid body with another name is sent as well, and the name to replace.
NEED_VALID = (
    "POST /v1/strategies",
    "PUT /v1/strategies/{id}",
    "POST /v1/strategies/{id}/versions",
    "POST /v1/strategies/published/{id}/copy",
    "POST /v1/strategies/templates/{id}/copy",
    "POST /v1/sessions",
    "POST /v1/backtests",
    "POST /v1/alerts",
    "POST /v1/auth/register",
)
NAME = "name-of-this-example"
REGISTRATION = {"POST /v1/auth/register": {"email": f"{NAME}@example.org", "password": PASSWORD}}
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
}


@pytest.mark.timeout(700)
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_conforms_to_its_document(
    world: World, service: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    process = world.services[service]
    began = process.log_size()
    wanted = _wanted_examples(process)
    (tmp_path / "schemathesis.toml").write_text(CONFIG.read_text() + _examples_config(wanted))
    report = _run(
        world, process, tmp_path / "0.ndjson", ["--seed", SEED] if SEED else ["--generation-deterministic"]
    )
    counts, checks = _counts(wanted, report), _checks(report)
    for number in range(1, MAX_RUNS):
        if not (few := _too_few(counts, wanted)):
            break
        named = [argument for name in few for argument in ("--include-name", name)]
        seed = str(int(SEED or 0) + number)
        report = _run(world, process, tmp_path / f"{number}.ndjson", ["--seed", seed, *named])
        counts.update(_counts(wanted, report))  # adds; `+=` would drop the operations that have none
    table.record(record_property, "as documented", counts)
    assert _too_few(counts, wanted) == {}
    assert checks >= CHECKS
    assert "Traceback" not in process.written(began)
    assert '"exception"' not in process.written(began)


def _run(world: World, process: Process, report: Path, arguments: Sequence[str]) -> Path:
    finished = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *_arguments(process.url, report), *arguments],
        env=_environment(world),
        cwd=report.parent,
        capture_output=True,
        text=True,
        timeout=patient(max(600, 6 * EXAMPLES)),
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return report


def _arguments(url: str, report: Path) -> list[str]:
    written = ["--report", "ndjson", "--report-ndjson-path", str(report), "--no-color"]
    where = ["run", f"{url}/openapi.json", "--url", url]
    config = report.with_name("schemathesis.toml")
    return ["--config-file", str(config), *where, *written]


def _environment(world: World) -> dict[str, str]:
    """Return all variables of the run: `requests` reads each of them for each request."""
    bodies = {**bodies_of(NAME, CROSS, world.created["/v1/strategies"]), **REGISTRATION}
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        # Keeps the tables of Unicode that Hypothesis would otherwise calculate for seconds in each run.
        "HYPOTHESIS_STORAGE_DIRECTORY": str(ROOT / ".hypothesis"),
        "SCHEMATHESIS_HOOKS": "tests.hostile.schemathesis_hooks",
        "HOSTILE_AUTH": world.services["auth"].url,
        "HOSTILE_LOGIN": json.dumps({"email": EMAIL, "password": PASSWORD}),
        "HOSTILE_NAME": NAME,
        "HOSTILE_BODIES": json.dumps({label: json.dumps(bodies[label]) for label in NEED_VALID}),
    }


def _wanted_examples(process: Process) -> dict[str, int]:
    paths = requests.get(f"{process.url}/openapi.json", timeout=10).json()["paths"]
    return {
        f"{method.upper()} {path}": EXAMPLES_OF[_varied_part(operation)]
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


def _varied_part(operation: Json) -> str:
    if "requestBody" in operation:
        return "body"
    return "query" if any(each["in"] == "query" for each in operation["parameters"]) else "path"


def _examples_config(wanted: Mapping[str, int]) -> str:
    sections = ""
    for count in set(EXAMPLES_OF.values()):
        if names := [name for name, examples in wanted.items() if examples == count]:
            sections += f"\n[[operations]]\ninclude-name = {json.dumps(names)}\ngeneration.max-examples = {count}\n"
    return sections


def _counts(wanted: Mapping[str, int], report: Path) -> Counter[str]:
    """Return the number of requests by documented operation; requests to other paths are not counted."""
    tried = Counter(f"{case['method']} {case['path']}" for case in _cases(report))
    return Counter({name: tried[name] for name in wanted})


def _too_few(counts: Mapping[str, int], wanted: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count < wanted[name]}


def _cases(report: Path) -> Iterator[dict[str, str]]:
    for recorder in _recorders(report):
        yield from (case["value"] for case in recorder.get("cases", {}).values())


def _checks(report: Path) -> set[str]:
    made = (checks for recorder in _recorders(report) for checks in recorder.get("checks", {}).values())
    return {check["name"] for checks in made for check in checks}


def _recorders(report: Path) -> Iterator[Any]:
    for line in report.read_text().splitlines():
        if "ScenarioFinished" in (event := json.loads(line)):
            yield event["ScenarioFinished"]["recorder"]
