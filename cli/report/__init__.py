"""Result of a backtest or session as one self-contained HTML page: trades, metrics and terms."""
