"""Long columns as one text each: the driver takes several times as long to encode an array of amounts or times."""

from collections.abc import Iterable


def joined(values: Iterable[object]) -> str:
    """Return the values of a column, none of which contains a comma, for `column`."""
    return ",".join(map(str, values))


def column(parameter: int, type_: str = "numeric") -> str:
    """Return SQL for the array in a parameter that is `joined`."""
    return f"string_to_array(${parameter}, ',', 'None')::{type_}[]"
