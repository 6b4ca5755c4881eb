"""`python -m tests.hostile.exchange PORT`: an exchange. Trading asks it only for its time and its contracts."""

import sys

from aiohttp import web

from tests.integration.trading.market import Exchange

if __name__ == "__main__":
    web.run_app(Exchange().app(), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
