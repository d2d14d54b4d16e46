"""Adapters: one folder per technology. ``bootstrap`` alone names them; each passes the contract tests of its port."""
