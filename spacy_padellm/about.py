"""The version of the package: written here and nowhere else. `setup.py` reads it without importing anything."""

__version__ = "0.1.0"
