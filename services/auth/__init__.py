"""Who you are: accounts, log-ins and access tokens."""
