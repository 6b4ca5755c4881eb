"""Peers that our figures are compared with, in an environment of their own."""
