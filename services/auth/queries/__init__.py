"""All SQL of auth."""
