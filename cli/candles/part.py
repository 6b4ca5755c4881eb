"""The part of a candle file that an interrupted run left: where the next one goes on."""

import fcntl
import gzip
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from cli.candles.file import COLUMNS
from cli.failure import BadInput
from services.trading.bybit_api import Kline
from shared.contracts.types import to_ms

HEADER = ",".join(COLUMNS) + "\n"
WIDENED = b",widened\n"  # ends the row of a bar that was


@dataclass(frozen=True)
class CandlesRequest:
    """What a part is of."""

    symbol: str
    interval: str
    from_ms: int
    before_ms: int | None
    endpoint: str


class Part:
    """`FILE.part`: a line that says what it is of, then rows, in the order in which they came, each marked if its
    bar was widened. One run has it at a time; its last line counts only if it is whole."""

    def __init__(self, final: Path, question: CandlesRequest) -> None:
        self.final = final
        self.path = final.with_name(final.name + ".part")
        self._question = question
        self.last_ms: int | None = None
        self.rows = 0

    def __enter__(self) -> "Part":
        try:
            self._file: BinaryIO = self.path.open("a+b")
        except OSError as error:
            raise BadInput(f"-o: {self.path}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._take_up()
        except BlockingIOError:
            self._file.close()
            raise BadInput(f"-o: another run writes {self.path}") from None
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _take_up(self) -> None:
        """What a run before this one has left."""
        self._file.seek(0)
        told = self._file.readline()
        end = self._file.tell()
        if not told.endswith(b"\n"):
            self._file.truncate(0)
            self._file.write(json.dumps(asdict(self._question)).encode() + b"\n")
            self._file.flush()
            return
        if told != json.dumps(asdict(self._question)).encode() + b"\n":
            raise BadInput(f"{self.path} was left by another fetch: go on with that one, or remove it")
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            self.last_ms = int(line.partition(b",")[0])
            self.rows += 1
        self._file.truncate(end)

    def append(self, bars: Sequence[Kline]) -> None:
        """On the disk before it returns, as far as the system says."""
        self._file.write("".join(map(_row, bars)).encode())
        self._file.flush()
        self.last_ms = to_ms(bars[-1].open_time)
        self.rows += len(bars)

    def times(self) -> Iterator[int]:
        """Of all bars."""
        return (int(line.partition(b",")[0]) for line in self._lines())

    def widened(self) -> Iterator[int]:
        """The times of the bars that were."""
        return (int(line.partition(b",")[0]) for line in self._lines() if line.endswith(WIDENED))

    def finish(self) -> None:
        """The file under its own name, whole or not at all; the part is gone then."""
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


def _row(bar: Kline) -> str:
    numbers = (bar.open, bar.high, bar.low, bar.close, bar.volume)
    end = WIDENED.decode() if bar.widened else "\n"
    return f"{to_ms(bar.open_time)},{','.join(format(number, 'f') for number in numbers)}{end}"
