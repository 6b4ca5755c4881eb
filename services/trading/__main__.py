"""`python -m services.trading`; run the feed and backtests apart with `--only feed` and `--only backtests`."""

from services.trading.app import build
from services.trading.settings import TradingSettings
from shared.chassis.service import run

if __name__ == "__main__":
    run(build, TradingSettings)
