"""A corpus through a pipeline on a cluster of Ray. Needs the extra "ray"."""
