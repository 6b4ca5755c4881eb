"""All SQL of billing, one typed function per statement."""
