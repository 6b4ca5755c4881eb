"""`python -m stack.kafka_archive`: store Kafka's classes loaded and linked, once per version of Kafka and Java.

With this file, which Java calls an AOT cache, a broker starts in half the time.
"""

import asyncio
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from aiokafka.errors import KafkaError

from stack.failure import BadInput
from stack.grants import apply_grants
from stack.kafka import KafkaServer, class_archive
from stack.migrate import SERVICES
from stack.ports import Ports
from stack.process import child_environment
from stack.topics import create_topics, topics_of

START_TIMEOUT_S = 120
END_TIMEOUT_S = 180
RETRY_S = 0.2


def make_class_archive(file: Path) -> None:
    """Record the classes that a broker loads which starts and gets the platform's topics, users and ACLs. Raises
    BadInput."""
    with tempfile.TemporaryDirectory() as home:
        made = file.with_suffix(".new")
        ports = Ports()
        server = KafkaServer(Path(home) / "kafka", ports.take(), ports.take(), admin_password="of-one-run")
        server.prepare()
        ports.release()
        java, *rest = server.command()
        with subprocess.Popen(
            [java, f"-XX:AOTCacheOutput={made}", *rest],
            env=child_environment({}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as broker:
            try:
                asyncio.run(_use(server))
                broker.terminate()  # it writes the file at its end
                broker.wait(END_TIMEOUT_S)
            finally:
                broker.kill()
        if not made.exists():
            raise BadInput("Java wrote no archive of Kafka's classes: brokers start without it, which takes longer")
        for outdated in file.parent.glob(f"*{file.suffix}"):
            outdated.unlink()
        made.rename(file)


async def _use(server: KafkaServer) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            try:
                await create_topics(server.admin, topics_of())
                break
            except KafkaError:  # it is starting
                await asyncio.sleep(RETRY_S)
        await apply_grants(server.admin, "", dict.fromkeys(SERVICES, "of-one-run"))


def main() -> None:
    """Make the archive if there is none. Without one everything works, so a fault is a notice."""
    logging.disable()  # of the client, that the broker does not answer yet
    file = class_archive()
    if file is None or file.exists():
        return
    try:
        make_class_archive(file)
    except (BadInput, TimeoutError, subprocess.TimeoutExpired) as fault:
        print(fault, file=sys.stderr)


if __name__ == "__main__":
    main()
