"""`tradefleet dlq`: a running consumer fails, and an operator looks and decides."""

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
from tests.integration.chassis.conftest import Listener, registered, say
from tests.integration.commands.conftest import told, typed

ServiceEnv = Callable[[str], dict[str, str]]
PATIENT = ("--wait", "15")


@dataclass
class Scene:
    """Analytics with one handler that fails for whom it is told to, and an operator's shell beside it."""

    running: RunningService
    listener: Listener
    env: dict[str, str]

    async def type(self, *words: str, answer: str = "") -> Result:
        """In a thread, as the command runs a loop of its own while the consumer goes on."""
        return await asyncio.to_thread(
            typed, dlq, words[0], "--service", "analytics", *words[1:], env=self.env, answer=answer
        )

    async def type_apart(self, *words: str) -> Any:
        """In a process of its own, several at once; what it says as JSON."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli",
            "dlq",
            *words,
            env={**os.environ, **self.env},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0
        return json.loads(said)

    async def show(self, wanted: str) -> Any:
        return told(await self.type("show", wanted, "--json"))["events"][0]

    async def listed(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = told(await self.type("list", "--json", *words))["events"]
        return found

    async def outcomes(self, *words: str) -> list[str]:
        return [each["outcome"] for each in told(await self.type(*words, "--json"))["done"]]

    async def wait_for(self, number: int, *words: str) -> list[dict[str, Any]]:
        return await eventually(lambda: self.listed(*words), lambda found: len(found) == number)

    async def heard(self, user_id: int, *seqs: int) -> None:
        await eventually(lambda: self._seqs(user_id), lambda heard: heard == list(seqs))

    async def _seqs(self, user_id: int) -> list[int]:
        return self.listener.seqs(user_id)

    async def poison(self, user_id: int, body: bytes = b"{not json") -> UUID:
        """Something that can never be worked, which halts the key of this user."""
        event_id = new_id()
        headers = headers_of(registered(user_id), str(event_id), "auth", utc_now())
        await self.running.producer.send([Outgoing("user.registered", str(user_id), headers, body)])
        return event_id

    async def halted(self, user_id: int) -> str:
        """A key that is halted by poison, with events 1 and 2 behind it; the ID of the poison."""
        await self.poison(user_id)
        await self.wait_for(1, "--state", "HALTED")
        await say(self.running.database, registered(user_id, 1), registered(user_id, 2))
        return str((await self.wait_for(3))[0]["id"])

    async def say_too_much(self, user_id: int, topic: str = "user.registered") -> str:
        """A row that no broker takes; its ID."""
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
    with (tmp_path / "log").open("w") as log:  # the runner takes what is printed for the command's
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(log))
        async with RunningService(listener.build, settings) as running:
            yield Scene(running, listener, {"POSTGRES_ANALYTICS_QUEUE_DSN": env["POSTGRES_QUEUE_DSN"]})
        structlog.reset_defaults()


async def test_a_halted_key_is_listed_and_shown_with_what_waits_behind_it(scene: Scene) -> None:
    head = await scene.halted(8)
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


async def test_after_drop_the_key_goes_on_in_order(scene: Scene) -> None:
    head = await scene.halted(8)
    assert scene.listener.seqs(8) == []
    assert await scene.outcomes("drop", head, "--yes") == ["dropped"]
    await scene.heard(8, 1, 2)
    assert [each["id"] for each in await scene.listed("--state", "DROPPED")] == [head]
    assert await scene.listed() == []
    assert await scene.outcomes("drop", head, "--yes") == ["already dropped"]


async def test_after_replay_the_key_goes_on_in_order_and_twice_has_one_effect(scene: Scene) -> None:
    scene.listener.failing = {3}
    await say(scene.running.database, *(registered(3, seq) for seq in (1, 2, 3)))
    listed = await scene.wait_for(3)
    async with scene.running.database.queue() as connection:  # as after its last try
        await connection.execute("UPDATE parked SET state = 'HALTED' WHERE id = (SELECT min(id) FROM parked)")
    scene.listener.failing = set()
    head = listed[0]["id"]
    twice = await asyncio.gather(*(scene.type_apart("replay", head, "--json") for _ in range(2)))
    assert {each["outcome"] for done in twice for each in done["done"]} <= {"replayed", "already handled"}
    await scene.heard(3, 1, 2, 3)
    assert await scene.outcomes("replay", head) == ["already handled"]
    await say(scene.running.database, registered(3, 4))
    await scene.heard(3, 1, 2, 3, 4)


async def test_waiting_for_a_replay_says_that_it_was_worked(scene: Scene) -> None:
    scene.listener.failing = {3}
    await say(scene.running.database, registered(3))
    listed = await scene.wait_for(1)
    async with scene.running.database.tenants([3]) as connection:
        await connection.execute("UPDATE parked SET next_attempt_at = now() + interval '1 hour'")
    scene.listener.failing = set()
    assert await scene.outcomes("replay", listed[0]["id"], *PATIENT) == ["handled"]
    assert scene.listener.seqs(3) == [1]


async def test_what_fails_again_exits_with_one_and_says_why(scene: Scene) -> None:
    head = await scene.halted(8)
    done = await scene.type("replay", head, *PATIENT)
    assert done.exit_code == 1
    assert "failed again" in done.output
    assert "JSON" in done.output
    assert [each["state"] for each in await scene.listed()] == ["HALTED", "WAITING", "WAITING"]


async def test_what_takes_longer_still_waits_and_exits_with_one(scene: Scene) -> None:
    scene.listener.failing = {3}
    await say(scene.running.database, registered(3))
    listed = await scene.wait_for(1)
    done = await scene.type("replay", listed[0]["id"], "--wait", "0.3")
    assert (done.exit_code, "still waiting" in done.output) == (1, True)
    assert "this tenant fails" in done.output


async def test_all_of_a_topic_are_replayed_and_nothing_else(scene: Scene) -> None:
    await scene.halted(8)
    await scene.poison(9)
    await scene.wait_for(2, "--state", "HALTED")
    assert await scene.outcomes("replay", "--all", "--topic", "trade.closed") == []
    assert await scene.outcomes("replay", "--all", "--topic", "user.registered", *PATIENT) == ["failed again"] * 2


async def test_a_row_too_large_is_listed_replayed_in_vain_and_dropped(scene: Scene) -> None:
    large = await scene.say_too_much(5)
    assert large.startswith("analytics:unsent:")
    (listed,) = await scene.listed()
    assert (listed["state"], listed["kind"]) == ("HALTED", "unsent")
    assert "larger than" in listed["reason"]
    await say(scene.running.database, registered(5, 1))
    assert (await scene.show(large))["behind"] == 1
    assert await scene.outcomes("replay", large, *PATIENT) == ["failed again"]
    assert scene.listener.seqs(5) == []
    assert await scene.outcomes("drop", large, "--yes") == ["dropped"]
    await scene.heard(5, 1)


async def test_a_row_that_can_be_sent_now_is_sent_once(scene: Scene) -> None:
    large = await scene.say_too_much(5)
    event = registered(5)
    async with scene.running.database.queue() as connection:  # as if the limit were higher now
        headers = headers_of(event, str(new_id()), "auth", utc_now())
        body = event.model_dump_json().encode()
        await connection.execute("UPDATE outbox SET payload = $1, headers = $2", body, headers)
    assert await scene.outcomes("replay", large, *PATIENT) == ["handled"]
    assert await scene.outcomes("replay", large) == ["already handled"]
    await scene.heard(5, 1)


async def test_what_never_was_is_not_found_and_exits_with_one(scene: Scene) -> None:
    nowhere = str(new_id())
    done = await scene.type("replay", "analytics:heard:99", "analytics:unsent:99", nowhere, "--json")
    assert done.exit_code == 1
    assert [(each["id"], each["outcome"]) for each in told(done)["done"]] == [
        ("analytics:heard:99", "not found"),
        ("analytics:unsent:99", "not found"),
        (nowhere, "not found"),
    ]
    shown = await scene.type("show", "analytics:heard:99")
    assert (shown.exit_code, len(shown.stderr.splitlines())) == (1, 1)


async def test_a_drop_asks_first_and_a_no_drops_nothing(scene: Scene) -> None:
    head = await scene.halted(8)
    refused = await scene.type("drop", head, answer="n\n")
    assert (refused.exit_code, "user.registered" in refused.output) == (1, True)
    silent = await scene.type("drop", head)
    assert (silent.exit_code, "--yes" in silent.stderr) == (2, True)
    assert (await scene.type("drop", head, "--json")).exit_code == 2
    assert (await scene.listed("--state", "DROPPED")) == []
    assert (await scene.type("drop", head, answer="y\n")).exit_code == 0
    await scene.heard(8, 1, 2)


async def test_secrets_and_control_characters_are_not_shown(scene: Scene) -> None:
    body = b'{"password": "hunter2", "deep": [{"api_key": "k-1"}], "name": "\\u001b[2Jred [bold]\\u202e"}'
    event_id = str(await scene.poison(8, body))
    (listed,) = await scene.wait_for(1)
    shown = await scene.type("show", listed["id"])
    assert "hunter2" not in shown.output
    assert "k-1" not in shown.output
    assert "[bold]" in shown.output
    assert "\x1b" not in shown.output
    assert "\u202e" not in shown.output
    assert event_id in shown.output


async def test_a_limit_says_how_many_more_there_are(scene: Scene) -> None:
    await scene.halted(8)
    limited = await scene.type("list", "--limit", "1")
    assert "and 2 more" in limited.output
    assert limited.exit_code == 0


async def test_nothing_is_said_to_be_nothing(scene: Scene) -> None:
    done = await scene.type("list")
    assert (done.exit_code, done.output) == (0, "no failed events\n")
    assert told(await scene.type("list", "--json")) == {"events": [], "total": 0}


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
def test_wrong_words_are_one_line_and_two(words: list[str]) -> None:
    dsn = "postgresql://nobody:a-secret@127.0.0.1:1/none"
    env = {f"POSTGRES_{service}_QUEUE_DSN": dsn for service in ("AUTH", "BILLING")}
    done = typed(dlq, *words, env=env)
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.output


def test_a_database_that_is_away_is_one_line_without_its_secret() -> None:
    env = {"POSTGRES_AUTH_QUEUE_DSN": "postgresql://auth_queue:a-secret@127.0.0.1:1/none"}
    done = typed(dlq, "list", "--service", "auth", env=env)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "a-secret" not in done.output


def test_a_service_that_is_not_named_in_the_environment_is_said() -> None:
    done = typed(dlq, "list", env={"POSTGRES_AUTH_QUEUE_DSN": "postgresql://127.0.0.1:1/none"})
    assert (done.exit_code, "POSTGRES_BILLING_QUEUE_DSN" in done.stderr) == (2, True)


def test_without_a_stack_it_says_so(nowhere: Path) -> None:
    done = typed(dlq, "list", env={"KAFKA_BOOTSTRAP": ""})
    assert (done.exit_code, "tradefleet up" in done.stderr) == (2, True)
