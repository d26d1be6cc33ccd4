"""What makes pages from the code."""
