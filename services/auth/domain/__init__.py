"""Rules of auth, without I/O."""
