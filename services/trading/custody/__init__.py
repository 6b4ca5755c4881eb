"""Exchange accounts, and the keys with which the platform trades on them."""
