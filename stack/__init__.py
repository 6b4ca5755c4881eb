"""Runs the platform on one machine: Postgres, Kafka, the gateway, the services and the exchange sandbox."""
