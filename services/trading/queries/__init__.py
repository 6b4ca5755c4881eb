"""All SQL of trading, one typed function per statement."""
