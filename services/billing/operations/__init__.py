"""One function per thing billing does, one transaction each."""
