"""The limits under a virtual clock: never exceeded as the exchange counts, by lane, and fair between tenants."""

from collections import Counter, defaultdict
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from services.trading.exchange.address_budget import AddressLimit, AddressState, block, grant
from services.trading.exchange.rate_budget import RateBudget, Ticket
from services.trading.exchange.request_window import LIMITS, Lane, RequestWindow, part_of

CREATE = "/v5/order/create"
HERE = "LIVE here"
LIMIT = AddressLimit(most=60, slot_s=0.25, counted_slots=24)


def ticket(tenant: int = 1, lane: Lane = Lane.ENTRY, path: str = CREATE, account: str = "") -> Ticket:
    return Ticket(tenant, account or f"uid-{tenant}", HERE, path, lane)


def budget_with(credit: int, tickets: list[Ticket]) -> RateBudget:
    budget = RateBudget()
    budget.add_credit(HERE, credit, expires_at=1e9)
    for each in tickets:
        budget.queue(each)
    return budget


def test_an_account_may_send_its_limit_of_each_request_in_a_second() -> None:
    budget = budget_with(100, [ticket(lane=Lane.CLOSE) for _ in range(15)])
    first = budget.admit(0.0)
    assert len(first) == 10
    for each in first:
        budget.end(each, 0.5)
    assert budget.admit(1.4) == []
    assert budget.next_change(1.4) == 1.5
    assert len(budget.admit(1.5)) == 5


def test_a_request_counts_until_a_second_after_its_answer() -> None:
    budget = budget_with(100, [ticket(lane=Lane.CLOSE) for _ in range(11)])
    first = budget.admit(0.0)
    assert budget.admit(60.0) == []
    budget.end(first[0], 60.0)
    assert budget.admit(60.9) == []
    assert len(budget.admit(61.0)) == 1


def test_lower_lanes_leave_room_for_closing() -> None:
    waiting = [ticket(lane=Lane.ENTRY) for _ in range(20)]
    budget = budget_with(100, waiting)
    assert len(budget.admit(0.0)) == 8
    budget.queue(ticket(lane=Lane.STOP))
    budget.queue(ticket(lane=Lane.STOP))
    budget.queue(ticket(lane=Lane.CLOSE))
    assert [each.lane for each in budget.admit(0.0)] == [Lane.CLOSE]
    assert part_of(1, Lane.POLL) == 1


def test_the_most_urgent_lane_goes_first() -> None:
    lanes = [Lane.POLL, Lane.ENTRY, Lane.STOP, Lane.CLOSE]
    budget = budget_with(100, [ticket(tenant, lane) for tenant, lane in enumerate(lanes)])
    assert [each.lane for each in budget.admit(0.0)] == sorted(lanes)


def test_one_tenants_many_requests_delay_anothers_by_one() -> None:
    many = [ticket(1, account=f"uid-{number}") for number in range(100)]
    budget = budget_with(3, [*many, ticket(2)])
    assert [each.tenant for each in budget.admit(0.0)] == [1, 2, 1]


def test_turns_continue_between_admissions() -> None:
    budget = budget_with(0, [ticket(tenant, account=f"{tenant} {n}") for tenant in (1, 2, 3) for n in range(3)])
    order = []
    for second in range(9):
        budget.add_credit(HERE, 1, second + 1)
        order += [each.tenant for each in budget.admit(second)]
    assert order == [1, 2, 3] * 3


def test_a_blocked_request_does_not_hold_up_the_tenants_others() -> None:
    budget = budget_with(100, [ticket(path=CREATE) for _ in range(9)] + [ticket(path="/v5/order/amend")])
    assert [each.path for each in budget.admit(0.0)][-1] == "/v5/order/amend"


def test_credit_expires_and_is_only_for_its_address_and_lanes() -> None:
    budget = RateBudget()
    budget.queue(ticket(lane=Lane.ENTRY))
    budget.add_credit("LIVE elsewhere", 5, 100.0)
    budget.add_credit(HERE, 5, 1.0)
    budget.add_credit(HERE, 5, 100.0, Lane.STOP)
    assert budget.admit(1.0) == []
    assert budget.wanted(HERE, 1.0) == (0, 0, 1, 0)
    budget.queue(ticket(lane=Lane.STOP))
    assert [each.lane for each in budget.admit(1.0)] == [Lane.STOP]


def test_no_more_is_wanted_than_the_accounts_may_send() -> None:
    budget = RateBudget()
    for _ in range(30):
        budget.queue(ticket(lane=Lane.ENTRY))
        budget.queue(ticket(lane=Lane.CLOSE))
    assert budget.wanted(HERE, 0.0) == (10, 0, 0, 0)
    assert budget.wanted("LIVE elsewhere", 0.0) == (0, 0, 0, 0)
    assert budget.addresses() == [HERE]


def test_a_dropped_ticket_is_never_admitted() -> None:
    first, second = ticket(), ticket()
    budget = budget_with(10, [first, second])
    budget.drop(first)
    assert budget.admit(0.0) == [second]
    assert budget.addresses() == []


def test_the_answers_headers_replace_the_limit_and_count_other_processes() -> None:
    window = RequestWindow(10)
    window.begin()
    window.end(0.0)
    window.learn({"X-Bapi-Limit": "40", "X-Bapi-Limit-Status": "30"}, 0.0)
    assert window.limit == 40
    assert sum(window.has_room(Lane.CLOSE, 0.5, beside) for beside in range(60)) == 30
    for headers in ({}, {"X-Bapi-Limit": "0", "X-Bapi-Limit-Status": "0"}, {"X-Bapi-Limit": "x" * 20}):
        window.learn(headers, 0.5)
    assert window.limit == 40
    assert window.is_idle(1.0)


def test_an_exceeded_limit_blocks_the_window_until_it_is_reset() -> None:
    budget = budget_with(10, [ticket(lane=Lane.CLOSE)])
    (sent,) = budget.admit(0.0)
    budget.block(sent, 3.0)
    budget.end(sent, 0.1)
    budget.queue(replace(sent))
    assert budget.admit(2.9) == []
    assert budget.next_change(2.9) == 3.0
    assert len(budget.admit(3.0)) == 1


def test_a_banned_address_gets_nothing_until_the_ban_ends() -> None:
    state = block(AddressState(), 600.0)
    state, given = grant(state, 10.0, (1, 0, 0, 0), LIMIT)
    assert (given.amount, given.retry_s) == (0, 590.0)
    assert grant(state, 600.0, (1, 0, 0, 0), LIMIT)[1].amount == 1


def test_lanes_share_an_address_by_their_parts() -> None:
    state, given = grant(AddressState(), 0.0, (0, 0, 0, 999), LIMIT)
    assert given.amount == 36
    state, given = grant(state, 0.0, (0, 0, 999, 999), LIMIT)
    assert given.amount == 12
    state, given = grant(state, 0.0, (5, 999, 999, 999), LIMIT)
    assert given.amount == 5 + 1
    assert grant(state, 0.0, (999, 0, 0, 0), LIMIT)[1].amount == 6


@given(st.floats(0, 0.2499))
def test_a_grant_counts_until_the_exchange_has_certainly_stopped_counting(into_slot: float) -> None:
    """It may be used at the end of its validity, and the request arrive half a second later."""
    began = 1_000 + into_slot
    state, given = grant(AddressState(), began, (LIMIT.most, 0, 0, 0), LIMIT)
    latest_arrival = began + given.valid_s + 0.5
    again = next(
        now
        for now in (1_000 + step * 0.01 for step in range(1_000))
        if now >= began and grant(state, now, (1, 0, 0, 0), LIMIT)[1].amount
    )
    assert again - latest_arrival >= 5 - 1e-6


@given(
    st.lists(
        st.tuples(
            st.floats(0, 2), st.tuples(*[st.integers(0, 40)] * 4), st.lists(st.floats(0, 0.999), max_size=40)
        ),
        max_size=60,
    )
)
@settings(max_examples=150, deadline=None)
def test_the_exchange_never_counts_more_than_the_limit_from_an_address(
    asks: list[tuple[float, tuple[int, ...], list[float]]],
) -> None:
    """Requests are sent at any time at which their grant is valid, and arrive up to half a second later."""
    state, now = AddressState(), 1_000.0
    arrivals: list[float] = []
    for pause_s, wanted, uses in asks:
        now += pause_s
        state, given = grant(state, now, wanted, LIMIT)
        delays = [*uses, *[0.0] * given.amount][: given.amount]
        arrivals += [now + use * (given.valid_s + 0.5) for use in delays]
    arrivals.sort()
    for index, arrival in enumerate(arrivals):
        assert sum(arrival - 5 < each <= arrival for each in arrivals[: index + 1]) <= LIMIT.most


steps = st.lists(
    st.tuples(
        st.sampled_from(["queue", "admit", "end", "wait"]),
        st.integers(1, 3),
        st.sampled_from(list(Lane)),
        st.sampled_from([CREATE, "/v5/order/realtime"]),
        st.floats(0, 0.7),
    ),
    max_size=200,
)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_the_exchange_never_counts_more_than_the_limit_of_an_account(
    events: list[tuple[str, int, Lane, str, float]],
) -> None:
    """A request arrives at any time between its admission and its end."""
    budget, now = budget_with(10_000, []), 0.0
    open_since: dict[Ticket, float] = {}
    arrivals: dict[tuple[str, str], list[float]] = defaultdict(list)

    def end(each: Ticket, share: float) -> None:
        began = open_since.pop(each)
        arrivals[each.account, each.path].append(began + (now - began) * share)
        budget.end(each, now)

    for kind, tenant, lane, path, number in events:
        if kind == "queue":
            for _ in range(12):
                budget.queue(ticket(tenant, lane, path))
        elif kind == "admit":
            open_since |= dict.fromkeys(budget.admit(now), now)
        elif kind == "end" and open_since:
            end(next(iter(open_since)), number)
        else:
            now += number
    for each in list(open_since):
        end(each, 0.5)
    for (_, path), times in arrivals.items():
        for time in times:
            assert sum(time - 1 < each <= time for each in times) <= LIMITS.get(path, 10)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from(list(Lane))), min_size=1, max_size=80), st.integers(1, 8)
)
@settings(max_examples=100, deadline=None)
def test_every_request_gets_its_turn_and_tenants_of_a_lane_share_evenly(
    queued: list[tuple[int, Lane]], credit: int
) -> None:
    tickets = [ticket(tenant, lane, account=f"{number}") for number, (tenant, lane) in enumerate(queued)]
    budget = budget_with(0, tickets)
    served: list[Ticket] = []
    for second in range(len(tickets)):
        budget.add_credit(HERE, credit, second + 1)
        served += budget.admit(second)
    assert Counter(served) == Counter(tickets)
    assert [each.lane for each in served] == sorted(each.lane for each in tickets)
    for lane in Lane:
        line = [each.tenant for each in served if each.lane == lane]
        demand = Counter(line)
        for place in range(len(line)):
            so_far = Counter(line[: place + 1])
            unfinished = [so_far[tenant] for tenant in demand if so_far[tenant] < demand[tenant]]
            assert not unfinished or max(so_far.values()) - min(unfinished) <= 1
