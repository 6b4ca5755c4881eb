"""The outside world to develop against: servers that speak its protocols and keep a ledger of what reached them."""
