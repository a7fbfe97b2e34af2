"""Modules that several tests share: the table of operations, strategies, networks, recordings."""
