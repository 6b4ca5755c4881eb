"""What you may use: plans, subscriptions and the ledger of what was used."""
