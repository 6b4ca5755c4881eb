"""Reads the exchange's public stream and says `candle.opened` and `candle.closed`, each bar once, in order."""
