"""Works on backtests: takes them from the queue, calculates each in a process apart, keeps what came of it."""
