"""A faulty message affects only its own key, which is parked or passed over; the others continue."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from prometheus_client import REGISTRY

from cli.dead_letters.rows import OPEN, Filter, list_entries, replay_entries
from shared.chassis.clock import utc_now
from shared.chassis.errors import Unavailable
from shared.chassis.events.decoding import Received, decode_record
from shared.chassis.events.headers import headers_of, to_wire
from shared.chassis.events.inbox import MAX_FAULTS_IN_A_ROW, Inbox, MarketInbox
from shared.chassis.events.plausible_versions import Versioned
from shared.chassis.postgres import Connection, Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.auth import UserRegistered
from shared.contracts.catalog import EVENTS
from shared.contracts.envelope import MarketEvent, Message
from shared.contracts.market import CandleClosed
from shared.contracts.types import new_id
from tests.contracts.samples import SAMPLES, source_of
from tests.integration.chassis.conftest import user_registered
from tests.isolation.world import captured_log

NONE: Mapping[str, str] = {}


@dataclass
class Record:
    """A record as aiokafka returns it."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    partition: int = 0
    offset: int = 0


def received(event: Message, offset: int = 0, headers: Mapping[str, str] = NONE) -> Received:
    event_id = event.event_id() if isinstance(event, MarketEvent) else new_id()
    known = headers_of(event, str(event_id), source_of(event), utc_now())
    record = Record(
        event.key().encode(), event.model_dump_json().encode(), to_wire({**known, **headers}), 0, offset
    )
    return decode_record(event.topic, record)


def newer(event: Message, offset: int = 0) -> Received:
    return received(event, offset, {"ce_dataschema": f"tradefleet:{event.topic}:2"})


def candle(interval: str = "15", number: int = 0, **changes: object) -> CandleClosed:
    """Return a sample candle of the series with this interval and generation `number` + 1."""
    sample = SAMPLES["candle.closed"]
    assert isinstance(sample, CandleClosed)
    return sample.model_copy(update={"interval": interval, "generation": number + 1, **changes})


@dataclass
class RecordingHandler:
    """Records handled events, and raises the faults set by user or by interval."""

    faults: dict[object, BaseException] = field(default_factory=dict)
    handled: list[Message] = field(default_factory=list)

    @property
    def series(self) -> list[str]:
        return [event.series for event in self.handled if isinstance(event, CandleClosed)]

    async def users(self, _: Connection, events: Sequence[UserRegistered]) -> None:
        for event in events:
            self._raise(event.user_id)
        self.handled += events

    async def candles(self, events: Sequence[CandleClosed]) -> None:
        for event in events:
            self._raise(event.interval)
        self.handled += events

    def _raise(self, what: object) -> None:
        if what in self.faults:
            raise self.faults[what]


@pytest.fixture
async def database(settings: ServiceSettings) -> AsyncIterator[Database]:
    database = await Database.connect(settings)
    async with (
        captured_log()
    ):  # the default log would print the locals of each traceback, batches of a thousand among them
        yield database
    await database.close()


async def list_parked(database: Database) -> list[tuple[str, str, str]]:
    async with database.queue() as connection:
        entries, _ = await list_entries(connection, Filter(states=OPEN), 1_000)
    return [(each.key, each.state, each.reason) for each in entries]


async def replay_all(database: Database) -> None:
    async with database.queue() as connection:
        entries, _ = await list_entries(connection, Filter(), 1_000)
        await replay_entries(connection, entries)


FAULTS_OF_THE_EVENT: dict[str, Callable[[], BaseException]] = {
    "a folder": lambda: _raised(lambda: ZoneInfo("Europe")),
    "recursion": lambda: RecursionError("too deep"),
    "key": lambda: KeyError("7"),
    "overflow": lambda: OverflowError("date value out of range"),
    "numeric": lambda: asyncpg.NumericValueOutOfRangeError("too large"),
    "index": lambda: asyncpg.ProgramLimitExceededError("index row size"),
    "unique": lambda: asyncpg.UniqueViolationError("there is one"),
    "NUL": lambda: asyncpg.CharacterNotInRepertoireError("0x00"),
    "programming": lambda: asyncpg.UndefinedColumnError("no such column"),
    "memory": lambda: MemoryError(),
}


def _raised(provoke: Callable[[], object]) -> BaseException:
    try:
        provoke()
    except OSError as error:
        return error
    raise AssertionError("this zone is no folder here")


async def test_failures_in_a_batch_lose_and_duplicate_none_of_the_others(database: Database) -> None:
    faults: dict[object, BaseException] = {
        100 * number: fault() for number, fault in enumerate(FAULTS_OF_THE_EVENT.values(), 1)
    }
    handler = RecordingHandler(faults)
    inbox = Inbox(database, "analytics", UserRegistered, handler.users)
    await inbox.process([received(user_registered(user_id), user_id) for user_id in range(1, 1_101)])
    assert {int(key) for key, _, _ in await list_parked(database)} == set(faults)
    handled = [event.user_id for event in handler.handled if isinstance(event, UserRegistered)]
    assert sorted(handled) == [user_id for user_id in range(1, 1_101) if user_id not in faults]


async def test_a_newer_version_parks_its_key_and_is_handled_after_the_upgrade(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = RecordingHandler()
    inbox = Inbox(database, "analytics", UserRegistered, handler.users)
    await inbox.process([newer(user_registered(1)), received(user_registered(1, 2)), received(user_registered(2))])
    assert [(key, state) for key, state, _ in await list_parked(database)] == [("1", "HALTED"), ("1", "WAITING")]
    assert "version 2" in (await list_parked(database))[0][2]
    assert [event.user_id for event in handler.handled if isinstance(event, UserRegistered)] == [2]
    await replay_all(database)
    assert await inbox.retry_parked() == 0  # this program is still the older one
    assert (await list_parked(database))[0][1] == "HALTED"
    monkeypatch.setattr(UserRegistered, "version", 2)
    await replay_all(database)
    assert [await inbox.retry_parked() for _ in range(2)] == [1, 1]
    assert await list_parked(database) == []
    assert [event.aggregate_seq for event in handler.handled if isinstance(event, UserRegistered)] == [1, 1, 2]


async def test_a_newer_version_is_counted_once(database: Database) -> None:
    inbox = Inbox(database, "analytics", UserRegistered, RecordingHandler().users)
    too_new, before = newer(user_registered(1)), count_too_new()
    await inbox.process([too_new, received(user_registered(2))])
    await inbox.process([too_new])
    assert count_too_new() == before + 1


def count_too_new() -> float:
    return REGISTRY.get_sample_value("events_too_new_total", {"topic": "user.registered"}) or 0.0


async def test_a_failing_candle_parks_its_series_and_the_others_continue(database: Database) -> None:
    handler = RecordingHandler({"15": KeyError("fails")})
    inbox = MarketInbox(database, "analytics-market", CandleClosed, handler.candles)
    first, other = candle("15"), candle("60")
    second = candle("15", open_time=first.open_time + timedelta(minutes=15), previous_open_time=first.open_time)
    await inbox.process([received(first), received(other), received(second)])
    assert handler.series == [other.series]
    series = first.series
    assert await list_parked(database) == [
        (series, "WAITING", "KeyError('fails')"),
        (series, "WAITING", "waits behind an earlier event"),
    ]
    handler.faults.clear()
    while await inbox.retry_parked():
        pass
    assert await list_parked(database) == []


async def test_candles_of_all_series_are_handled_in_one_call(database: Database) -> None:
    calls = []

    async def handle(events: Sequence[CandleClosed]) -> None:
        calls.append([event.series for event in events])

    batch = [candle("15"), candle("60"), candle("15", number=1)]
    inbox = MarketInbox(database, "analytics-market", CandleClosed, handle)
    await inbox.process([received(each) for each in batch])
    assert calls == [[each.series for each in batch]]


async def test_a_newer_candle_parks_its_series_and_the_others_continue(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = RecordingHandler()
    inbox = MarketInbox(database, "analytics-market", CandleClosed, handler.candles)
    too_new, other = candle("15"), candle("60")
    await inbox.process([newer(too_new, 1), received(other, 2)])
    assert handler.series == [other.series]
    assert [(key, state) for key, state, _ in await list_parked(database)] == [(too_new.series, "HALTED")]
    monkeypatch.setattr(CandleClosed, "version", 2)
    await replay_all(database)
    assert await inbox.retry_parked() == 1
    assert handler.series == [other.series, too_new.series]


async def test_an_infrastructure_fault_of_one_key_only_blocks_no_other(database: Database) -> None:
    handler = RecordingHandler({"15": Unavailable("for this one only")})
    inbox = MarketInbox(database, "analytics-market", CandleClosed, handler.candles)
    batch = [received(candle("15")), received(candle("60", number=1))]
    for _ in range(MAX_FAULTS_IN_A_ROW):
        with pytest.raises(Unavailable):
            await inbox.process(batch)
    await inbox.process(batch)
    assert [(key, state) for key, state, _ in await list_parked(database)] == [(candle("15").series, "WAITING")]
    assert candle("60", number=1).series in handler.series


async def test_an_infrastructure_fault_of_two_keys_is_waited_out(database: Database) -> None:
    handler = RecordingHandler({"15": Unavailable(), "60": Unavailable()})
    inbox = MarketInbox(database, "analytics-market", CandleClosed, handler.candles)
    for _ in range(MAX_FAULTS_IN_A_ROW + 2):
        with pytest.raises(Unavailable):
            await inbox.process([received(candle("15")), received(candle("60"))])
    assert await list_parked(database) == []


async def test_an_event_from_a_wrong_source_is_dead(database: Database) -> None:
    """A forged event is dead, and the key that it names continues."""
    handler = RecordingHandler()
    inbox = Inbox(database, "analytics", UserRegistered, handler.users)
    await inbox.process(
        [received(user_registered(1), headers={"ce_source": "trading"}), received(user_registered(1))]
    )
    (one,) = await list_parked(database)
    assert (one[0], one[1], "ce_source" in one[2]) == ("1", "DEAD", True)
    assert len(handler.handled) == 1


def test_each_event_is_accepted_only_from_the_sources_in_its_contract() -> None:
    for event in EVENTS:
        sample = SAMPLES[event.topic]
        accepted = [
            source
            for source in ("auth", "billing", "trading", "analytics", "notifications", "nobody", "")
            if received(sample, headers={"ce_source": source}).event is not None
        ]
        assert len(accepted) == 1, event.topic
        assert accepted[0] in event.sources()


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"ce_dataschema": "tradefleet:user.registered:" + "9" * 4301}, "ce_dataschema"),
        ({"ce_dataschema": "tradefleet:user.updated:2"}, "ce_dataschema"),
        ({"ce_dataschema": "tradefleet:user.registered:0"}, "ce_dataschema"),
        ({"ce_type": "user.updated"}, "ce_type"),
        ({"ce_time": "yesterday"}, "ce_time"),
        ({"ce_id": "{0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21}"}, "ce_id"),
    ],
)
def test_a_wrong_header_is_a_fault_of_the_message(headers: dict[str, str], reason: str) -> None:
    one = received(user_registered(1), headers=headers)
    assert one.event is None
    assert reason in one.fault


@pytest.mark.parametrize(("field", "value"), [("email", "a\x00b"), ("timezone", "Europe"), ("timezone", "../x")])
def test_an_unusable_field_is_a_fault_of_the_message(field: str, value: str) -> None:
    one = received(user_registered(1).model_copy(update={field: value}))
    assert one.event is None
    assert one.fault.startswith(f"{field}: ")


async def test_an_implausible_version_is_dead_until_an_operator_replays_it(
    database: Database,
) -> None:
    handler = RecordingHandler()
    inbox = Inbox(
        database,
        "analytics",
        UserRegistered,
        handler.users,
        Versioned("aggregate_seq", "user_zones", "zone_version"),
    )
    await inbox.process([received(user_registered(1, seq)) for seq in (2**63 - 1, 5_000, 1)])
    assert [(key, state, reason[:7]) for key, state, reason in await list_parked(database)] == [
        ("1", "DEAD", "version")
    ] * 2
    assert [event.aggregate_seq for event in handler.handled if isinstance(event, UserRegistered)] == [1]
    await replay_all(database)
    while await inbox.retry_parked():
        pass
    assert len(handler.handled) == 3


async def test_a_key_or_header_of_any_size_is_parked(database: Database) -> None:
    """A header name contains NUL, and the key is larger than an index allows."""
    record = Record(b"x" * 100_000, b"{}", [("a\x00b", b"\x00\xff"), ("ce_id", b"")] * 2)
    inbox = Inbox(database, "analytics", UserRegistered, RecordingHandler().users)
    await inbox.process([decode_record("user.registered", record)])
    ((key, state, _),) = await list_parked(database)
    assert (len(key) <= 200, state) == (True, "DEAD")
