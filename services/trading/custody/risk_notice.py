"""The notice that a tenant accepts before the platform trades with their money."""

VERSION = 1  # raise it with every change of the text: tenants accept it again
TEXT = (
    "Bots trade with your money, without asking you. Perpetual contracts are leveraged: you can lose all that is "
    "in the account, within seconds, also while a bot runs as it should. A result on paper or in a backtest "
    "promises nothing. Stops rest on the exchange, and may fill at a worse price than theirs, or not at all. The "
    "exchange, the network or this platform may fail while a position is open. Use a sub-account with an amount "
    "that you can lose, a key that can trade and nothing else, and check the account yourself. You decide, and the "
    "losses are yours."
)
