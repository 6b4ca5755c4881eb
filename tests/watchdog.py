"""Stops a test run's servers if the run itself was killed: `python -m tests.watchdog RUN_PID FOLDER PID…`."""

import shutil
import sys
import time
from contextlib import suppress

import psutil

LOOK_EVERY_S = 0.5
GRACE_S = 10  # time for a run that ends normally to stop them itself


def main() -> None:
    """Wait for the run to end, then kill the remaining servers and remove the folder."""
    run, folder, *pids = sys.argv[1:]
    servers = [psutil.Process(int(pid)) for pid in pids]
    with suppress(psutil.NoSuchProcess):
        watched = psutil.Process(int(run))
        while watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE:
            time.sleep(LOOK_EVERY_S)
    _, left = psutil.wait_procs(servers, timeout=GRACE_S)
    for server in left:
        with suppress(psutil.NoSuchProcess):
            server.kill()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
