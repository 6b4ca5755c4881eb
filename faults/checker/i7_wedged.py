"""I7: whether it came to rest in time, as it was seen from outside."""

from collections.abc import Iterator

from faults.checker.evidence import Settled


def not_settled(settled: Settled | None) -> Iterator[str]:
    if settled is None:
        yield "settled.json is not there: nobody looked whether it came to rest"
        return
    for name, ready in settled.ready.items():
        if not ready:
            yield f"{name} is not ready"
    for group, behind in settled.lag.items():
        if behind:
            yield f"{group} is {behind} messages behind"
    if settled.seconds > settled.limit_s:
        yield f"it took {settled.seconds} s to come to rest, more than {settled.limit_s} s"
