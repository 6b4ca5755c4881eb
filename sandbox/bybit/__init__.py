"""Bybit's public V5 market data, replayed from candle files."""
