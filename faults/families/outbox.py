"""A: outbox and relay."""

from faults.kinds import Family, crash, freeze_one_of, kill_one_of, processes, weather_before

RELAYS = processes("relay", ("auth", "billing", "trading", "notifications"))
BUSY = ["trading-relay", "notifications-relay"]
REQUESTS = processes("http", ("auth", "trading", "analytics", "notifications"))

FAMILY = Family(
    "outbox and relay",
    {
        "relay.after_rows_read": RELAYS,
        "relay.after_ack": RELAYS,
        "relay.after_mark": RELAYS,
        "relay.after_commit": RELAYS,
        "transaction.before_commit": REQUESTS,
        "transaction.after_commit": REQUESTS,
        "http.before_answer": REQUESTS,
    },
    (kill_one_of(RELAYS), freeze_one_of(BUSY), crash("kafka"), weather_before("kafka")),
)
