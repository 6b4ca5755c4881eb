"""D: trading and the exchange."""

from faults.kinds import Family, exchange_fault, freeze_one_of, kill_one_of

WORKER = ["trading-worker"]

FAMILY = Family(
    "trading and exchange",
    {
        "orders.before_commit": WORKER,
        "orders.after_commit": WORKER,
        "orders.after_gate": WORKER,
        "orders.after_send": WORKER,
        "worker.after_claim": WORKER,
    },
    (kill_one_of(["trading-relay"]), freeze_one_of(["trading-http"])),
    (exchange_fault, exchange_fault),
)
