"""Families of faults. To add one, write a module and add it to this mapping."""

from collections.abc import Mapping

from faults.families import consumers, exchange, outbox, postgres
from faults.kinds import Family

FAMILIES: Mapping[str, Family] = {
    "A": outbox.FAMILY,
    "B": consumers.FAMILY,
    "C": postgres.FAMILY,
    "D": exchange.FAMILY,
}
