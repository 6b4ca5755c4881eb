"""`python -m services.trading`; the feed runs apart: `python -m services.trading --only feed`."""

from services.trading.app import build
from services.trading.settings import TradingSettings
from shared.chassis.service import run

if __name__ == "__main__":
    run(build, TradingSettings)
