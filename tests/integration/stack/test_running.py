"""A running platform: its processes, its gateway, and a second start in the same folder."""

import json
from pathlib import Path

from stack.stack import GATEWAY_PORT
from tests.integration.stack.commands import fetch, status, tradefleet
from tests.integration.stack.conftest import Platforms

NAMES = {
    "postgres",
    "kafka",
    "gateway",
    "auth",
    "billing",
    "trading",
    "feed",
    "backtests",
    "analytics",
    "notifications",
    "sandbox-bybit",
}


def test_it_starts_on_another_port_while_the_default_one_is_in_use(platforms: Platforms) -> None:
    """Of two platforms one has the default port at most; perhaps another program has it."""
    said = f"PORT {GATEWAY_PORT} IS TAKEN by another program: the gateway listens on http://127.0.0.1:"
    moved = [printed.partition(said)[2].split()[0] for printed in platforms.printed.values() if said in printed]
    assert 1 <= len(moved) <= 2
    assert str(GATEWAY_PORT) not in moved
    shared = status(platforms.shared)["gateway"].rpartition(":")[2]
    assert shared in (str(GATEWAY_PORT), *moved)


def test_status_lists_healthy_processes_and_addresses(shared: Path) -> None:
    state = status(shared)
    assert set(state["services"]) == {"auth", "billing", "trading", "analytics", "notifications"}
    assert state["postgres"].startswith("postgresql://127.0.0.1:")
    assert state["kafka"].startswith("127.0.0.1:")
    assert {process["name"] for process in state["processes"]} == NAMES
    assert all(process["healthy"] for process in state["processes"]), state["processes"]


def test_a_second_start_in_its_folder_is_refused_in_one_line(shared: Path) -> None:
    again = tradefleet("up", "--detach", "--home", str(shared))
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)


def test_the_gateway_answers_for_the_platform(shared: Path) -> None:
    gateway = status(shared)["gateway"]
    assert fetch(gateway + "/readyz")[0] == 200
    assert fetch(gateway + "/healthz")[0] == 200
    assert "/v1/sessions" in json.loads(fetch(gateway + "/openapi.json")[2])["paths"]
    assert len(json.loads(fetch(gateway + "/v1/plans")[2])["items"]) == 3
    code, kind, page = fetch(gateway + "/docs")
    assert (code, kind.partition(";")[0]) == (200, "text/html")
    assert "/docs/start.js" in page
    assert fetch(gateway + "/docs/swagger_bundle.js")[0] == 200
    assert 'id="email-taken"' in fetch(gateway + "/problems/email-taken")[2]
    code, kind, _ = fetch(gateway + "/v1/sessions")
    assert (code, kind) == (401, "application/problem+json; charset=utf-8")
    code, kind, body = fetch(gateway + "/nothing/here")
    assert (code, kind, json.loads(body)["status"]) == (404, "application/problem+json", 404)
