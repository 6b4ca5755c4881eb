"""The operations of trading: one function each, one transaction each."""
