"""Steps sessions through the bars of their series; spread over workers by leases in Postgres."""
