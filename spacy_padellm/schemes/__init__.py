"""Schemes: how entities become questions and answers. Pure text, no model."""
