"""An event published because of another event carries that event's trace."""

import contextvars

from shared.chassis import telemetry

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_an_event_is_published_in_the_trace_of_its_cause() -> None:
    def work() -> tuple[str, str]:
        telemetry.set_cause_traces({7: TRACE})
        return telemetry.trace_for(7), telemetry.trace_for(8)

    followed, other = contextvars.copy_context().run(work)
    assert followed[3:35] == TRACE[3:35]
    assert followed[36:52] != TRACE[36:52]
    assert other[3:35] != TRACE[3:35]


def test_an_invalid_trace_is_not_propagated() -> None:
    def work() -> str:
        telemetry.set_cause_traces({7: "\r\nevil: header"})
        return telemetry.trace_for(7)

    assert len(contextvars.copy_context().run(work)) == len(TRACE)
