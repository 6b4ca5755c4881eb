"""What each service may do on the broker: derived from who sends and who receives each event."""

from collections.abc import Iterable, Iterator

from cli.asyncapi import dead_letter_senders, receivers, senders
from shared.chassis.events.handlers import groups_of
from shared.contracts.catalog import EVENTS
from stack.acl_api import Acl, Operation, Pattern, Resource
from stack.migrate import SERVICES


def principal(name: str, prefix: str = "") -> str:
    """The user as which a service or subscriber authenticates; platforms that share a broker have their own."""
    return prefix + name


def acls_of(prefix: str = "") -> frozenset[Acl]:
    """All of the services. Reading and writing include describing; idempotent producers need nothing more."""
    return frozenset(acl for service in SERVICES for acl in _of_service(service, prefix))


def _of_service(service: str, prefix: str) -> Iterator[Acl]:
    user = principal(service, prefix)
    for event in EVENTS:
        if service in senders(event):
            yield Acl(user, Resource.TOPIC, prefix + event.topic, Operation.WRITE)
        if service in receivers(event):
            yield Acl(user, Resource.TOPIC, prefix + event.topic, Operation.READ)
        if service in dead_letter_senders(event):
            yield Acl(user, Resource.TOPIC, f"{prefix}{event.topic}.dlq", Operation.WRITE)
    for group in groups_of(service):
        yield Acl(user, Resource.GROUP, prefix + group, Operation.READ)


def acls_of_subscriber(name: str, topics: Iterable[str], group: str, prefix: str = "") -> frozenset[Acl]:
    """Read-only: these topics, and consumer groups whose names begin with `group`."""
    user = principal(name, prefix)
    reading = {Acl(user, Resource.TOPIC, prefix + topic, Operation.READ) for topic in topics}
    return frozenset({*reading, Acl(user, Resource.GROUP, prefix + group, Operation.READ, Pattern.PREFIXED)})
