"""The worker: steps sessions through the bars of their series. Leases in Postgres spread sessions over workers."""
