"""Faults by family, as spec'd: a family joins by a module of its own and a line here."""

from collections.abc import Mapping

from faults.families import consumers, outbox, postgres
from faults.kinds import Family

FAMILIES: Mapping[str, Family] = {
    "A": outbox.FAMILY,
    "B": consumers.FAMILY,
    "C": postgres.FAMILY,
}
