"""`tradefleet demo`: several tenants trade recorded or synthetic candles on paper; the results are checked."""
