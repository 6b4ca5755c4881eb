"""`tradefleet dlq`: a consumer fails, and an operator inspects, replays and drops events."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from click.testing import Result

from cli.dead_letters.command import dlq
from shared.chassis.clock import utc_now
from shared.chassis.events.headers import headers_of
from shared.chassis.events.outbox import OutboxRow, insert_outgoing
from shared.chassis.events.producer import Outgoing
from shared.chassis.events.relay import MAX_PAYLOAD_BYTES
from shared.chassis.service import RunningService
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import new_id
from tests.integration.accounts import eventually
from tests.integration.chassis.conftest import Listener, publish, user_registered
from tests.integration.commands.conftest import parse_json, run_command

ServiceEnv = Callable[[str], dict[str, str]]
PATIENT = ("--wait", "15")


@dataclass
class Scene:
    """Analytics with one handler that can be made to fail for a user, and an operator's shell."""

    running: RunningService
    listener: Listener
    env: dict[str, str]

    async def run(self, *words: str, answer: str = "") -> Result:
        """Run the command in a thread, because it runs an event loop of its own while the consumer keeps
        running."""
        return await asyncio.to_thread(
            run_command, dlq, words[0], "--service", "analytics", *words[1:], env=self.env, answer=answer
        )

    async def run_in_process(self, *words: str) -> Any:
        """Run the command in a process of its own, so that several can run at once, and return its JSON output."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli",
            "dlq",
            *words,
            env={**os.environ, **self.env},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return json.loads(output)

    async def show(self, event: str) -> Any:
        return parse_json(await self.run("show", event, "--json"))["events"][0]

    async def listed(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = parse_json(await self.run("list", "--json", *words))["events"]
        return found

    async def outcomes(self, *words: str) -> list[str]:
        return [each["outcome"] for each in parse_json(await self.run(*words, "--json"))["done"]]

    async def wait_for(self, number: int, *words: str) -> list[dict[str, Any]]:
        return await eventually(lambda: self.listed(*words), lambda found: len(found) == number)

    async def wait_for_seqs(self, user_id: int, *seqs: int) -> None:
        await eventually(lambda: self._seqs(user_id), lambda received: received == list(seqs))

    async def _seqs(self, user_id: int) -> list[int]:
        return self.listener.seqs(user_id)

    async def poison(self, user_id: int, body: bytes = b"{not json") -> UUID:
        """Send a message that can never be handled, which halts the key of this user; return its event id."""
        event_id = new_id()
        headers = headers_of(user_registered(user_id), str(event_id), "auth", utc_now())
        await self.running.producer.send([Outgoing("user.registered", str(user_id), headers, body)])
        return event_id

    async def halt(self, user_id: int) -> str:
        """Halt a key with a poison message, publish events 1 and 2 behind it, and return the id of the poison."""
        await self.poison(user_id)
        await self.wait_for(1, "--state", "HALTED")
        await publish(self.running.database, user_registered(user_id, 1), user_registered(user_id, 2))
        return str((await self.wait_for(3))[0]["id"])

    async def insert_oversized(self, user_id: int, topic: str = "user.registered") -> str:
        """Insert an outbox row that no broker accepts, and return its id."""
        event_id = str(new_id())
        row = OutboxRow(user_id, topic, str(user_id), event_id, {"ce_id": event_id}, b"x" * (MAX_PAYLOAD_BYTES + 1))
        async with self.running.database.tenant(user_id) as connection:
            await insert_outgoing(connection, [row])
        return str((await self.wait_for(1, "--topic", topic))[0]["id"])


@pytest.fixture
async def scene(service_env: ServiceEnv, any_source: None, tmp_path: Path) -> AsyncIterator[Scene]:
    env = service_env("analytics")
    settings = ServiceSettings.model_validate(
        {**{name.lower(): value for name, value in env.items()}, "service": "analytics"}
    )
    listener = Listener()
    with (tmp_path / "log").open("w") as log:  # CliRunner would take printed log lines for the command's output
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(log))
        async with RunningService(listener.build, settings) as running:
            yield Scene(running, listener, {"POSTGRES_ANALYTICS_QUEUE_DSN": env["POSTGRES_QUEUE_DSN"]})
        structlog.reset_defaults()


async def test_a_halted_key_is_listed_and_shown_with_the_events_behind_it(scene: Scene) -> None:
    head = await scene.halt(8)
    listed = await scene.listed("--key", "8")
    assert [each["state"] for each in listed] == ["HALTED", "WAITING", "WAITING"]
    assert (listed[0]["kind"], listed[0]["topic"], listed[0]["attempts"]) == ("heard", "user.registered", 0)
    assert "JSON" in listed[0]["reason"]
    shown = await scene.show(head)
    assert (shown["behind"], shown["waits_for"], shown["body_is_json"]) == (2, 0, False)
    assert shown["next_behind"] == [each["event_id"] for each in listed[1:]]
    assert shown["headers"]["ce_source"] == "auth"
    behind = await scene.show(listed[1]["event_id"])
    assert (behind["waits_for"], behind["body"]["user_id"]) == (1, 8)


async def test_after_a_drop_the_key_continues_in_order(scene: Scene) -> None:
    head = await scene.halt(8)
    assert scene.listener.seqs(8) == []
    assert await scene.outcomes("drop", head, "--yes") == ["dropped"]
    await scene.wait_for_seqs(8, 1, 2)
    assert [each["id"] for each in await scene.listed("--state", "DROPPED")] == [head]
    assert await scene.listed() == []
    assert await scene.outcomes("drop", head, "--yes") == ["already dropped"]


async def test_after_a_replay_the_key_continues_in_order_and_a_second_has_no_effect(scene: Scene) -> None:
    scene.listener.failing = {3}
    await publish(scene.running.database, *(user_registered(3, seq) for seq in (1, 2, 3)))
    listed = await scene.wait_for(3)
    async with scene.running.database.queue() as connection:  # as after its last attempt
        await connection.execute("UPDATE parked SET state = 'HALTED' WHERE id = (SELECT min(id) FROM parked)")
    scene.listener.failing = set()
    head = listed[0]["id"]
    twice = await asyncio.gather(*(scene.run_in_process("replay", head, "--json") for _ in range(2)))
    assert {each["outcome"] for result in twice for each in result["done"]} <= {"replayed", "already handled"}
    await scene.wait_for_seqs(3, 1, 2, 3)
    assert await scene.outcomes("replay", head) == ["already handled"]
    await publish(scene.running.database, user_registered(3, 4))
    await scene.wait_for_seqs(3, 1, 2, 3, 4)


async def test_waiting_for_a_replay_reports_that_it_was_handled(scene: Scene) -> None:
    scene.listener.failing = {3}
    await publish(scene.running.database, user_registered(3))
    listed = await scene.wait_for(1)
    async with scene.running.database.tenants([3]) as connection:
        await connection.execute("UPDATE parked SET next_attempt_at = now() + interval '1 hour'")
    scene.listener.failing = set()
    assert await scene.outcomes("replay", listed[0]["id"], *PATIENT) == ["handled"]
    assert scene.listener.seqs(3) == [1]


async def test_a_replay_that_fails_again_exits_with_1_and_the_reason(scene: Scene) -> None:
    head = await scene.halt(8)
    result = await scene.run("replay", head, *PATIENT)
    assert result.exit_code == 1
    assert "failed again" in result.output
    assert "JSON" in result.output
    assert [each["state"] for each in await scene.listed()] == ["HALTED", "WAITING", "WAITING"]


async def test_a_replay_that_exceeds_the_wait_exits_with_1(scene: Scene) -> None:
    scene.listener.failing = {3}
    await publish(scene.running.database, user_registered(3))
    listed = await scene.wait_for(1)
    result = await scene.run("replay", listed[0]["id"], "--wait", "0.3")
    assert (result.exit_code, "still waiting" in result.output) == (1, True)
    assert "this tenant fails" in result.output


async def test_all_events_of_a_topic_are_replayed_and_no_others(scene: Scene) -> None:
    await scene.halt(8)
    await scene.poison(9)
    await scene.wait_for(2, "--state", "HALTED")
    assert await scene.outcomes("replay", "--all", "--topic", "trade.closed") == []
    assert await scene.outcomes("replay", "--all", "--topic", "user.registered", *PATIENT) == ["failed again"] * 2


async def test_an_oversized_row_is_listed_fails_a_replay_and_is_dropped(scene: Scene) -> None:
    large = await scene.insert_oversized(5)
    assert large.startswith("analytics:unsent:")
    (listed,) = await scene.listed()
    assert (listed["state"], listed["kind"]) == ("HALTED", "unsent")
    assert "larger than" in listed["reason"]
    await publish(scene.running.database, user_registered(5, 1))
    assert (await scene.show(large))["behind"] == 1
    assert await scene.outcomes("replay", large, *PATIENT) == ["failed again"]
    assert scene.listener.seqs(5) == []
    assert await scene.outcomes("drop", large, "--yes") == ["dropped"]
    await scene.wait_for_seqs(5, 1)


async def test_a_row_that_has_become_sendable_is_sent_once(scene: Scene) -> None:
    large = await scene.insert_oversized(5)
    event = user_registered(5)
    async with scene.running.database.queue() as connection:  # as if the limit had been raised
        headers = headers_of(event, str(new_id()), "auth", utc_now())
        body = event.model_dump_json().encode()
        await connection.execute("UPDATE outbox SET payload = $1, headers = $2", body, headers)
    assert await scene.outcomes("replay", large, *PATIENT) == ["handled"]
    assert await scene.outcomes("replay", large) == ["already handled"]
    await scene.wait_for_seqs(5, 1)


async def test_an_unknown_event_is_not_found_and_exits_with_1(scene: Scene) -> None:
    nowhere = str(new_id())
    result = await scene.run("replay", "analytics:heard:99", "analytics:unsent:99", nowhere, "--json")
    assert result.exit_code == 1
    assert [(each["id"], each["outcome"]) for each in parse_json(result)["done"]] == [
        ("analytics:heard:99", "not found"),
        ("analytics:unsent:99", "not found"),
        (nowhere, "not found"),
    ]
    shown = await scene.run("show", "analytics:heard:99")
    assert (shown.exit_code, len(shown.stderr.splitlines())) == (1, 1)


async def test_a_drop_asks_for_confirmation_and_no_drops_nothing(scene: Scene) -> None:
    head = await scene.halt(8)
    refused = await scene.run("drop", head, answer="n\n")
    assert (refused.exit_code, "user.registered" in refused.output) == (1, True)
    silent = await scene.run("drop", head)
    assert (silent.exit_code, "--yes" in silent.stderr) == (2, True)
    assert (await scene.run("drop", head, "--json")).exit_code == 2
    assert (await scene.listed("--state", "DROPPED")) == []
    assert (await scene.run("drop", head, answer="y\n")).exit_code == 0
    await scene.wait_for_seqs(8, 1, 2)


async def test_secrets_and_control_characters_are_not_shown(scene: Scene) -> None:
    body = b'{"password": "hunter2", "deep": [{"api_key": "k-1"}], "name": "\\u001b[2Jred [bold]\\u202e"}'
    event_id = str(await scene.poison(8, body))
    (listed,) = await scene.wait_for(1)
    shown = await scene.run("show", listed["id"])
    assert "hunter2" not in shown.output
    assert "k-1" not in shown.output
    assert "[bold]" in shown.output
    assert "\x1b" not in shown.output
    assert "\u202e" not in shown.output
    assert event_id in shown.output


async def test_a_limited_list_shows_how_many_are_left_out(scene: Scene) -> None:
    await scene.halt(8)
    limited = await scene.run("list", "--limit", "1")
    assert "and 2 more" in limited.output
    assert limited.exit_code == 0


async def test_an_empty_list_says_so(scene: Scene) -> None:
    result = await scene.run("list")
    assert (result.exit_code, result.output) == (0, "no failed events\n")
    assert parse_json(await scene.run("list", "--json")) == {"events": [], "total": 0}


@pytest.mark.parametrize(
    "words",
    [
        ["replay"],
        ["replay", "--all"],
        ["replay", "--topic", "trade.closed"],
        ["replay", "--all", "--topic", "trade.closed", "auth:heard:1"],
        ["replay", "auth:heard:0"],
        ["replay", "auth:heard:1; DROP TABLE parked"],
        ["replay", "nobody:heard:1"],
        ["replay", "auth:heard:1", "--service", "billing"],
        ["show", "12"],
        ["drop", "--yes"],
        ["list", "--state", "LOST"],
        ["list", "--limit", "0"],
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(words: list[str]) -> None:
    dsn = "postgresql://nobody:a-secret@127.0.0.1:1/none"
    env = {f"POSTGRES_{service}_QUEUE_DSN": dsn for service in ("AUTH", "BILLING")}
    result = run_command(dlq, *words, env=env)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1), result.output


def test_an_unreachable_database_is_one_line_without_its_password() -> None:
    env = {"POSTGRES_AUTH_QUEUE_DSN": "postgresql://auth_queue:a-secret@127.0.0.1:1/none"}
    result = run_command(dlq, "list", "--service", "auth", env=env)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "a-secret" not in result.output


def test_a_missing_dsn_in_the_environment_is_named() -> None:
    result = run_command(dlq, "list", env={"POSTGRES_AUTH_QUEUE_DSN": "postgresql://127.0.0.1:1/none"})
    assert (result.exit_code, "POSTGRES_BILLING_QUEUE_DSN" in result.stderr) == (2, True)


def test_without_a_stack_it_reports_that(nowhere: Path) -> None:
    result = run_command(dlq, "list", env={"KAFKA_BOOTSTRAP": ""})
    assert (result.exit_code, "tradefleet up" in result.stderr) == (2, True)
