"""I7: whether the platform settled in time, as seen from outside."""

from collections.abc import Iterator

from faults.checker.evidence import Settled


def find_unsettled(settled: Settled | None) -> Iterator[str]:
    if settled is None:
        yield "settled.json is missing: whether the platform settled is not known"
        return
    for name, ready in settled.ready.items():
        if not ready:
            yield f"{name} is not ready"
    for group, behind in settled.lag.items():
        if behind:
            yield f"{group} is {behind} messages behind"
    if settled.seconds > settled.limit_s:
        yield f"settling took {settled.seconds} s, more than {settled.limit_s} s"
