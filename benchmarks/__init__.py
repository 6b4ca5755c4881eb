"""Benchmarks. Every figure is compared with a peer in the same run, or with its bound."""
