"""What auth does, one function and one transaction each."""
