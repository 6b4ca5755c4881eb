"""Tests of the adapter to the exchange."""
