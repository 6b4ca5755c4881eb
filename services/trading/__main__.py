"""`python -m services.trading`; the feed and backtests run apart: `--only feed`, `--only backtests`."""

from services.trading.app import build
from services.trading.settings import TradingSettings
from shared.chassis.service import run

if __name__ == "__main__":
    run(build, TradingSettings)
