"""Returns from any source."""
