"""Pipelines and their models as repositories of the Hugging Face hub."""
