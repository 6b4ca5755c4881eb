"""B: consumers, including those of candles: feed, worker, alerts."""

from faults.kinds import Family, crash, freeze_one_of, kill_one_of, poison, processes, weather_before

CONSUMERS = processes("consumers", ("billing", "analytics", "notifications"))
CANDLE_CONSUMERS = ["trading-worker", "trading-feed"]

FAMILY = Family(
    "consumers",
    {
        "consumer.after_fetch": CONSUMERS,
        "consumer.after_work": CONSUMERS,
        "consumer.after_offsets": CONSUMERS,
        "inbox.after_rows": CONSUMERS,
        "inbox.after_effect": CONSUMERS,
        "parked.before_retry": ["analytics-consumers"],
        "parked.after_effect": ["analytics-consumers"],
        "feed.before_candle": ["trading-feed"],
        "feed.after_candle": ["trading-feed"],
        "worker.after_claim": ["trading-worker"],
        "worker.before_decision": ["trading-worker"],
        "worker.after_decision": ["trading-worker"],
        "worker.after_quiet_step": ["trading-worker"],
        "alerts.before_firing": ["notifications-consumers"],
        "alerts.after_firing": ["notifications-consumers"],
    },
    (
        kill_one_of(processes("consumers")),
        freeze_one_of(CONSUMERS),
        freeze_one_of(CANDLE_CONSUMERS),
        crash("kafka"),
        weather_before("kafka"),
    ),
    (poison,),
)
