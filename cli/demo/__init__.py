"""`tradefleet demo`: several tenants trade recorded or made-up candles on paper, and what came of it is checked."""
