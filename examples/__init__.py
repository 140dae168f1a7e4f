"""Runnable examples; `examples.complete_journey` is what `make demo` runs."""
