"""The exchange itself: accounts, orders, matching and positions. Pure: no clock, no sockets."""
