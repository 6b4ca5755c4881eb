"""Free ports stay reserved until their server starts."""

import socket

import pytest

from stack.ports import Ports


def listen_on(port: int) -> socket.socket:
    taken = socket.socket()
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
    except OSError:
        taken.close()
        raise
    return taken


def test_two_stacks_that_start_at_once_get_different_ports() -> None:
    one, other = Ports(), Ports()
    wanted = one.take()
    assert other.take(wanted) != wanted
    taken = [ports.take() for ports in (one, other) for _ in range(50)]
    assert len(set(taken)) == 100
    one.release()
    other.release()


def test_a_port_is_reserved_until_it_is_released() -> None:
    ports = Ports()
    port, held = ports.take(), ports.take()
    with pytest.raises(OSError):
        listen_on(port)
    ports.release(port)
    listen_on(port).close()
    with pytest.raises(OSError):
        listen_on(held)
    ports.release()


def test_a_taken_port_is_avoided() -> None:
    with listen_on(0) as taken:
        ports = Ports()
        assert ports.take(taken.getsockname()[1]) != taken.getsockname()[1]
        ports.release()
