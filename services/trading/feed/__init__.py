"""The market feed: reads the exchange's public stream and publishes `candle.opened` and `candle.closed`.

Each bar is published once, in order.
"""
