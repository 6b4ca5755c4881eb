"""All SQL of the trading service except the feed's, one typed function per statement."""
