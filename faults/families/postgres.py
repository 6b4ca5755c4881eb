"""C: Postgres."""

from faults.kinds import Family, crash, kill_one_of, processes, terminate_backends, weather_before

WRITERS = [*processes("http", ("auth", "trading", "notifications")), "analytics-consumers", "trading-worker"]

FAMILY = Family(
    "Postgres",
    {
        "transaction.before_commit": WRITERS,
        "transaction.after_commit": WRITERS,
        "billing.deadline_due": ["billing-jobs"],
    },
    (
        crash("postgres"),
        terminate_backends,
        weather_before("postgres"),
        weather_before("postgres"),
        kill_one_of(processes("jobs")),
    ),
)
