"""The adapter to the exchange on which sessions trade."""
