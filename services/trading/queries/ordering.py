"""The order of a list: by a time, then by an id, either way. A page starts after the last row shown."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

After = tuple[datetime, UUID] | None


@dataclass(frozen=True)
class Order:
    """`column` is a constant of our code, never a client's text: it is written into the SQL."""

    column: str
    descending: bool = False

    def by(self, id_column: str) -> str:
        direction = "DESC" if self.descending else "ASC"
        return f"{self.column} {direction}, {id_column} {direction}"

    def beyond(self, id_column: str, first: int) -> str:
        """Return a condition on parameters `first` and `first + 1`: time and id of the row before the page."""
        sign = "<" if self.descending else ">"
        place = f"${first}::timestamptz"
        return f"({place} IS NULL OR ({self.column}, {id_column}) {sign} ({place}, ${first + 1}::uuid))"
