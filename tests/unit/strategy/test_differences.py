"""Differences between two documents are listed as the smallest differing parts, with their paths."""

import pytest

from shared.strategy.document.differences import Difference, differences

ADDED = Difference("$.a[1]", "added", None, 2)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [Difference("$.a.b", "changed", 1, 2)]),
        ({}, {"a": None}, [Difference("$.a", "added", None, None)]),
        ({"a": [1, 2]}, {"a": [1]}, [Difference("$.a[1]", "removed", 2, None)]),
        (
            {"a": [1]},
            {"a": [3, 2]},
            [Difference("$.a[0]", "changed", 1, 3), ADDED],
        ),
        ({"a": {"b": 1}}, {"a": [1]}, [Difference("$.a", "changed", {"b": 1}, [1])]),
        ({"a b": 1}, {"a b": "1"}, [Difference('$["a b"]', "changed", 1, "1")]),
    ],
)
def test_differences(old: object, new: object, expected: list[Difference]) -> None:
    assert list(differences(old, new)) == expected
