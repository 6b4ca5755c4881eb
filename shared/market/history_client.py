"""The client of trading's candle history. Analytics and notifications use it once per series and after a gap, and
to check whether the exchange has a series."""

from collections.abc import Mapping

import aiohttp
from pydantic import BaseModel, ValidationError

from shared.chassis.errors import ExchangeAway, ExchangeUnreachable, InvalidInput, PoisonError, Unavailable
from shared.chassis.service_tokens import ServiceTokens
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import Amount
from shared.strategy.bars import Bar

TIMEOUT_S = 20
CHECK_TIMEOUT_S = 8  # trading may have to call the exchange
MAX_KNOWN = 10_000
PAGE = 5_000
NOT_ABOUT_THE_QUERY = (401, 403, 407, 408, 425, 429)  # refused because of the caller or the time
NO_SUCH_SERIES = 404
SERIES_FIELDS = ("$.symbol", "$.interval")


class _HistoryPage(BaseModel):
    items: list[tuple[int, Amount, Amount, Amount, Amount, Amount]]
    anchor_ms: int | None


class _Problem(BaseModel):
    errors: list[dict[str, str]] = []


class HistoryRefused(PoisonError):
    """Trading will never answer such a request; `faults` names the part of the series that is wrong."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"trading's history refuses the series: {status}")
        try:
            errors = _Problem.model_validate_json(body).errors
        except ValidationError:
            errors = []
        self.status = status
        self.faults = [fault for fault in errors if fault.get("path") in SERIES_FIELDS]


class CandleHistory:
    """The candle history at trading's internal listener, called with a token of this service."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._url = settings.trading_internal_url.rstrip("/") + "/internal/v1/candles"
        self._tokens = ServiceTokens(settings.service, settings.service_key_file)
        self._has_trading = bool(settings.trading_internal_url)
        self._known: set[tuple[str, str]] = set()  # series that the exchange has

    async def fetch(self, symbol: str, interval: str, to_ms: int, generation: int | None = None) -> list[Bar]:
        """Return all confirmed candles of the series from its anchor up to and including `to_ms`, ascending, of the
        newest generation unless one is given.

        Returns an empty list if the exchange does not have the series. Raises Unavailable if trading does not
        answer; the caller retries later. Raises HistoryRefused if trading refuses the request.
        """
        bars: list[Bar] = []
        end = to_ms
        series = {"symbol": symbol, "interval": interval, "limit": str(PAGE)}
        if generation is not None:
            series["generation"] = str(generation)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
            while True:
                try:
                    page = await self._page(session, {**series, "to_ms": str(end)})
                except HistoryRefused as error:
                    if error.status == NO_SUCH_SERIES:
                        return []
                    raise
                bars[:0] = [Bar(*item) for item in page.items]
                if len(page.items) < PAGE or page.anchor_ms is None or page.items[0][0] <= page.anchor_ms:
                    return bars
                end = page.items[0][0] - 1

    async def check_series(self, symbol: str, interval: str) -> None:
        """Check that the exchange has the series, before creating something that depends on it. Does nothing in a
        service without trading's address.

        Raises InvalidInput naming the field if it does not, ExchangeUnreachable or Unavailable if it cannot be
        checked now.
        """
        if not self._has_trading or (symbol, interval) in self._known:
            return
        query = {"symbol": symbol, "interval": interval, "limit": "1", "to_ms": "0"}
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CHECK_TIMEOUT_S)) as session:
                await self._page(session, query)
        except HistoryRefused as error:
            if error.faults:
                raise InvalidInput(errors=error.faults) from error
            raise Unavailable("the series cannot be checked at the moment", retry_after_s=2) from error
        except ExchangeAway as error:
            raise ExchangeUnreachable from error
        except (Unavailable, ValidationError) as error:
            raise Unavailable("the series cannot be checked at the moment", retry_after_s=2) from error
        if len(self._known) < MAX_KNOWN:
            self._known.add((symbol, interval))

    async def _page(self, session: aiohttp.ClientSession, query: Mapping[str, str]) -> _HistoryPage:
        headers = self._tokens.authorization("trading")
        try:
            async with session.get(self._url, params=query, headers=headers) as answer:
                if answer.status == ExchangeUnreachable.status:
                    raise ExchangeAway("the exchange does not answer at the moment")
                if 400 <= answer.status < 500 and answer.status not in NOT_ABOUT_THE_QUERY:
                    raise HistoryRefused(answer.status, await answer.read())
                answer.raise_for_status()
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("the candle history is not available at the moment") from error
        return _HistoryPage.model_validate_json(body)
