"""A result as one page that needs nothing from elsewhere: what was traded, what came of it, and on which terms."""
