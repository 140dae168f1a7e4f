"""attrgan completes the missing attributes of catalogs, and says how sure it is."""

__version__ = "0.1.0"
