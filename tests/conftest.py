"""Settings that all tests share."""

import hypothesis

# Timing and the order of tries say nothing about right and wrong, and both differ from machine to machine.
hypothesis.settings.register_profile("padellm", deadline=None, derandomize=True, max_examples=60, database=None)
hypothesis.settings.load_profile("padellm")
