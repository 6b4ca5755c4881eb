"""`tradefleet faults`: inject faults while the platform is under load, then check its invariants."""
