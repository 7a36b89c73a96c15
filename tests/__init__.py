"""The tests: stories over HTTP first, tables for rules second."""
