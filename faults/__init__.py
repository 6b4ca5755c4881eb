"""`tradefleet faults`: the platform under load while things break, and what must hold afterwards."""
