"""The base of every service: HTTP, Postgres, Kafka, outbox, inbox, tokens, settings, telemetry."""
