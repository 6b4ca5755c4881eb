"""The partial candle file of an interrupted run, from which the next run resumes."""

import fcntl
import gzip
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from cli.candles.file import COLUMNS
from shared.market.bars import WidenedBar
from shared.strategy.bars import Bar
from stack.failure import BadInput

HEADER = ",".join(COLUMNS) + "\n"
WIDENED = b",widened\n"  # end of the row of a widened bar


@dataclass(frozen=True)
class CandlesRequest:
    """The request that a partial file belongs to."""

    symbol: str
    interval: str
    from_ms: int
    before_ms: int | None
    endpoint: str


class PartialFile:
    """`FILE.part`: a line with the request, then rows in order of arrival, each marked if its bar was widened.

    Locked by one run at a time; an incomplete last line is ignored.
    """

    def __init__(self, final: Path, request: CandlesRequest) -> None:
        self.final = final
        self.path = final.with_name(final.name + ".part")
        self._request = request
        self.last_ms: int | None = None
        self.rows = 0

    def __enter__(self) -> "PartialFile":
        try:
            self._file: BinaryIO = self.path.open("a+b")
        except OSError as error:
            raise BadInput(f"-o: {self.path}: cannot be written: {error.strerror}") from error
        with ExitStack() as failed:
            failed.callback(self._file.close)
            self._lock()
            self._resume()
            failed.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"-o: another run is writing {self.path}") from None

    def _resume(self) -> None:
        """Read the rows of an earlier run. Raises BadInput if it belongs to another request."""
        self._file.seek(0)
        header = self._file.readline()
        end = self._file.tell()
        if not header.endswith(b"\n"):
            self._file.truncate(0)
            self._file.write(json.dumps(asdict(self._request)).encode() + b"\n")
            self._file.flush()
            return
        if header != json.dumps(asdict(self._request)).encode() + b"\n":
            raise BadInput(f"{self.path} was left by another fetch: finish that one, or remove the file")
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            self.last_ms = int(line.partition(b",")[0])
            self.rows += 1
        self._file.truncate(end)

    def append(self, bars: Sequence[Bar]) -> None:
        """Append rows and flush them to the system."""
        self._file.write("".join(map(_row, bars)).encode())
        self._file.flush()
        self.last_ms = bars[-1].open_time_ms
        self.rows += len(bars)

    def times(self) -> Iterator[int]:
        """Yield the open times of all bars."""
        return (int(line.partition(b",")[0]) for line in self._lines())

    def widened(self) -> Iterator[int]:
        """Yield the open times of widened bars."""
        return (int(line.partition(b",")[0]) for line in self._lines() if line.endswith(WIDENED))

    def finish(self) -> None:
        """Write the final file atomically and delete the partial file. Raises BadInput."""
        new = self.final.with_name(self.final.name + ".new")
        try:
            with new.open("wb") as file:
                if self.final.suffix == ".gz":
                    with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
                        self._copy_to(packed)
                else:
                    self._copy_to(file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.final)
        except OSError as error:
            raise BadInput(f"-o: {self.final}: cannot be written: {error.strerror}") from error
        finally:
            new.unlink(missing_ok=True)
        self.path.unlink()

    def _copy_to(self, file: "BinaryIO | gzip.GzipFile") -> None:
        file.write(HEADER.encode())
        for line in self._lines():
            file.write(line.removesuffix(WIDENED) + b"\n" if line.endswith(WIDENED) else line)

    def _lines(self) -> Iterator[bytes]:
        self._file.seek(0)
        self._file.readline()
        yield from self._file


def _row(bar: Bar) -> str:
    end = WIDENED.decode() if isinstance(bar, WidenedBar) else "\n"
    return f"{bar.open_time_ms},{','.join(format(number, 'f') for number in bar[1:])}{end}"
