"""A real grocery catalog, completed through the DAGs from landing to report."""
