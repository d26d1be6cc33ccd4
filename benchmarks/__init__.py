"""Measurements, apart from the tests: each module is a command whose last line of output is JSON."""
