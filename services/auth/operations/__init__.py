"""The operations of auth: one function and one transaction each."""
