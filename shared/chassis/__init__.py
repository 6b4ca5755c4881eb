"""What the services stand on: HTTP, Postgres, Kafka, outbox, inbox, tokens, settings, telemetry."""
