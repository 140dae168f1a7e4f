"""Which rows of a catalog may go on: suite, quarantine, quality gate, and a first schema."""
