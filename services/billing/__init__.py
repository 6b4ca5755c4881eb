"""Plans, subscriptions, usage and quotas."""
