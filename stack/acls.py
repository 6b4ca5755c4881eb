"""Broker ACLs of each service, derived from the publishers and consumers of each event."""

from collections.abc import Iterable, Iterator

from shared.chassis.events.handlers import groups_of
from shared.contracts.catalog import EVENTS
from stack.acl_api import Acl, Operation, Pattern, Resource
from stack.migrate import SERVICES
from stack.topic_clients import dead_letter_senders, receivers, senders


def principal(name: str, prefix: str = "") -> str:
    """Return the user of a service or subscriber; the prefix separates platforms that share a broker."""
    return prefix + name


def acls_of(prefix: str = "") -> frozenset[Acl]:
    """Return the ACLs of all services. READ and WRITE imply DESCRIBE, and suffice for idempotent producers."""
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
    """Return READ rights on these topics and on consumer groups whose names start with `group`."""
    user = principal(name, prefix)
    reading = {Acl(user, Resource.TOPIC, prefix + topic, Operation.READ) for topic in topics}
    return frozenset({*reading, Acl(user, Resource.GROUP, prefix + group, Operation.READ, Pattern.PREFIXED)})
