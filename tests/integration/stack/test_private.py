"""A running stack shows no secret to other users of the machine, to its child processes, or on the screen."""

import asyncio
import json
import os
import stat
from pathlib import Path

import psutil
import pytest
from aiokafka.errors import KafkaError

from shared.chassis.events.broker_access import KafkaAccess
from shared.chassis.events.producer import Outgoing, Producer
from stack.home import State, read_state
from tests.integration.stack.commands import status, tradefleet
from tests.integration.stack.conftest import FOREIGN
from tests.pace import patient

pytestmark = pytest.mark.timeout(300)

SERVICE_PROCESSES = {"auth", "billing", "trading", "feed", "backtests", "analytics", "notifications"}


@pytest.fixture(scope="module")
def state(shared: Path) -> State:
    found = read_state(shared)
    assert found is not None
    return found


def test_logs_secrets_and_server_folders_are_private_to_their_owner(shared: Path) -> None:
    """If Postgres runs as another user, it passes through the home, and can read nothing in it."""
    assert stat.S_IMODE(shared.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)
    files = {file.name for file in shared.iterdir() if file.is_file()}
    assert {"secrets.json", "state.json", "signing-key.pem", "exchange-keys.json", "up.log"} <= files
    private = [shared / name for name in files - {"lock"}]
    private += [shared / "logs", shared / "kafka", *(shared / "logs").iterdir(), *(shared / "kafka").rglob("*")]
    assert len(private) > 30
    open_to_others = [str(path) for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_to_others == []


def test_children_have_no_secrets_but_their_own(shared: Path, state: State) -> None:
    secrets = json.loads((shared / "secrets.json").read_text())
    seen = set()
    for note in state.processes:
        environment = psutil.Process(note.pid).environ()
        assert not set(FOREIGN) & set(environment), note.name
        text = "\n".join(environment.values())
        owner = {"feed": "trading", "backtests": "trading"}.get(note.name, note.name)
        others = [word for role, word in secrets["roles"].items() if not role.startswith(f"{owner}_")]
        others += [word for service, word in secrets["kafka"].items() if service != owner]
        others += [secrets["superuser"], secrets["kafka_admin"]]
        assert not any(word in text for word in others), note.name
        assert ("EXCHANGE_KEYS_FILE" in environment) == (note.name == "trading"), note.name
        if note.name in SERVICE_PROCESSES:
            seen.add(note.name)
            assert environment["KAFKA_SASL_USERNAME"] == owner
            assert environment["LOG_LEVEL"] == "WARNING", "a setting of its own is passed on"
        else:
            assert not any(word in text for word in secrets["kafka"].values()), note.name
    assert seen == SERVICE_PROCESSES


def test_no_command_line_contains_a_password(shared: Path, state: State) -> None:
    secrets = json.loads((shared / "secrets.json").read_text())
    words = [secrets["superuser"], secrets["kafka_admin"], *secrets["roles"].values(), *secrets["kafka"].values()]
    for note in state.processes:
        line = " ".join(psutil.Process(note.pid).cmdline())
        assert not any(word in line for word in words), note.name


def test_status_shows_passwords_only_on_request(shared: Path) -> None:
    secrets = json.loads((shared / "secrets.json").read_text())
    owner, admin = secrets["roles"]["tradefleet_owner"], secrets["kafka_admin"]
    for words in ((), ("--json",)):
        shown = tradefleet("status", "--home", str(shared), *words).stdout
        assert owner not in shown
        assert admin not in shown
    assert status(shared)["postgres"].startswith("postgresql://127.0.0.1:")
    with_secrets = json.loads(tradefleet("status", "--home", str(shared), "--json", "--secrets").stdout)
    assert owner in with_secrets["postgres"]
    assert with_secrets["kafka_login"]["password"] == admin


def test_without_a_login_nothing_can_be_published(state: State) -> None:
    plan = b'{"user_id":1,"plan":"PRO"}'
    with pytest.raises(KafkaError):
        asyncio.run(_send(KafkaAccess(state.kafka), Outgoing("subscription.changed", "1", {}, plan)))


def test_the_broker_has_the_grants_of_the_contracts(shared: Path) -> None:
    planned = tradefleet("topics", "plan", "--json", "--home", str(shared))
    grants = json.loads(planned.stdout)["grants"]
    assert planned.exit_code == 0
    assert grants == {"authorizer": True, "missing": [], "superfluous": [], "others": [], "users_missing": []}


def test_a_subscriber_is_added_listed_and_removed_by_commands(shared: Path) -> None:
    at = ("--home", str(shared))
    added = tradefleet("topics", "subscriber", "add", "reports", "--topics", "trade.closed", *at)
    assert added.exit_code == 0, added.output
    login = dict(line.split("=", 1) for line in added.stdout.splitlines() if "=" in line)
    assert login["KAFKA_SASL_USERNAME"] == "reports"
    access = KafkaAccess(
        login["KAFKA_BOOTSTRAP"], "SASL_PLAINTEXT", username="reports", password=login["KAFKA_SASL_PASSWORD"]
    )
    with pytest.raises(KafkaError):
        asyncio.run(_send(access, Outgoing("trade.closed", "1", {}, b"{}")))
    listed = json.loads(tradefleet("topics", "subscriber", "list", "--json", *at).stdout)
    assert [each["user"] for each in listed["subscribers"]] == ["reports"]
    again = tradefleet("topics", "subscriber", "add", "reports", "--topics", "trade.closed", *at)
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    assert tradefleet("topics", "subscriber", "remove", "reports", *at).exit_code == 0
    assert tradefleet("topics", "subscriber", "list", *at).stdout == "no subscribers\n"


async def _send(access: KafkaAccess, message: Outgoing) -> None:
    producer = Producer(access)
    try:
        async with asyncio.timeout(patient(15)):
            await producer.send([message])
    finally:
        await producer.stop()
