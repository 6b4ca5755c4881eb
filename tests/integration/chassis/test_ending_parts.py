"""A part of a service that ends before its process ends the process, which its supervisor then restarts."""

import asyncio
import os
import sys
from collections.abc import Callable

import pytest

from stack.migrate import ROOT
from tests.pace import patient

WITHIN_S = 30


@pytest.mark.parametrize(
    ("part", "roles"),
    [("returns", "jobs"), ("fails", "jobs"), ("consumer-0", "jobs,consumers"), ("relay", "jobs,relay")],
)
async def test_a_part_that_ends_early_ends_the_process(
    service_env: Callable[[str], dict[str, str]], part: str, roles: str
) -> None:
    paths = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    environment = {**paths, **service_env("analytics"), "SERVICE": "analytics", "ENDING_PART": part}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.chassis.ending_part", "--only", roles),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(patient(WITHIN_S)):
            log, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    failed = [line for line in log.decode().splitlines() if "job_failed" in line]
    assert (process.returncode, len(failed)) == (1, 1), log.decode()
    assert f'"{part}"' in failed[0]
