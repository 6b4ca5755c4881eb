"""The runner's side of the crash points: arms processes, and reads which points they hit."""

from collections import Counter
from pathlib import Path

from shared.chassis.crash_points import POINTS

# After these points a process has completed its work, so a kill there interrupts nothing.
AT_REST = frozenset(
    {
        "transaction.after_commit",
        "http.before_answer",
        "relay.after_commit",
        "consumer.after_offsets",
        "feed.after_candle",
        "worker.after_claim",
        "worker.after_decision",
        "worker.after_quiet_step",
        "orders.after_commit",
        "alerts.after_firing",
    }
)


class PointsFolder:
    """The folder that shared/chassis/crash_points.py reads and writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("arm", "fired", "hits"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def arm(self, process: str, point: str, action: str, nth: int) -> None:
        partial = self.folder / f"{process}.new"
        partial.write_text(f"{point} {action} {nth}\n")
        partial.rename(self.folder / "arm" / process)

    def is_armed(self, process: str) -> bool:
        return (self.folder / "arm" / process).exists()

    def disarm(self, process: str) -> bool:
        """Disarm the process. Returns True if it was still armed, so the strike did not happen and will not."""
        try:
            (self.folder / "arm" / process).unlink()
        except FileNotFoundError:
            return False
        return True

    def in_flight(self, process: str, pid: int) -> str:
        """Return the point that the process hit last, or an empty text if the process was idle after it."""
        try:
            hits = (self.folder / "hits" / f"{process}-{pid}").read_bytes()
        except FileNotFoundError:
            return ""
        last = POINTS[hits[-1]] if hits else ""
        return "" if last in AT_REST else last

    def hits(self) -> Counter[str]:
        """Return how often each point was hit, over all processes."""
        count: Counter[str] = Counter()
        for file in (self.folder / "hits").iterdir():
            for index, times in Counter(file.read_bytes()).items():
                count[POINTS[index]] += times
        return count
