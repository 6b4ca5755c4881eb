"""The platform on one machine: real Postgres, real Kafka, the gateway, the services, the sandbox."""
