"""One function per thing trading does, one transaction each."""
