"""Accounts, logins and access tokens."""
