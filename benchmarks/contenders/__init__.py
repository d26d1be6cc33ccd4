"""What the forest stands beside: the same questions through plain `model.generate`, and other spaCy pipelines."""
