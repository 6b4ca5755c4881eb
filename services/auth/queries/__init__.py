"""All SQL of auth, one typed function per statement."""
