"""The operations of billing: one function and one transaction each."""
