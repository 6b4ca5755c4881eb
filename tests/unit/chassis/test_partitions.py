"""Keys go to the partitions that other Kafka clients choose for them."""

import pytest

from shared.chassis.events.producer import _partition_of

MURMUR2 = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}  # of the Java client


@pytest.mark.parametrize("key", MURMUR2)
@pytest.mark.parametrize("partitions", [1, 12, 50])
def test_a_key_has_the_partition_of_the_java_client(key: bytes, partitions: int) -> None:
    assert _partition_of(key, partitions) == (MURMUR2[key] & 0x7FFFFFFF) % partitions
