"""The runner's side of the named points: arms processes, and reads what they hit and where they were struck."""

from collections import Counter
from pathlib import Path

from shared.chassis.crash_points import POINTS

# After these a process is through with what it did: a kill that falls there strikes nothing.
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
        "alerts.after_firing",
    }
)


class PointsFolder:
    """What shared/chassis/crash_points.py keeps in a folder."""

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
        """Whether it was still armed: it has not struck and will not."""
        try:
            (self.folder / "arm" / process).unlink()
        except FileNotFoundError:
            return False
        return True

    def in_flight(self, process: str, pid: int) -> str:
        """The point that this process hit last, if something was between it and the next; else nothing."""
        try:
            hits = (self.folder / "hits" / f"{process}-{pid}").read_bytes()
        except FileNotFoundError:
            return ""
        last = POINTS[hits[-1]] if hits else ""
        return "" if last in AT_REST else last

    def hits(self) -> Counter[str]:
        """How often each point was hit, by all processes there were."""
        count: Counter[str] = Counter()
        for file in (self.folder / "hits").iterdir():
            for index, times in Counter(file.read_bytes()).items():
                count[POINTS[index]] += times
        return count
