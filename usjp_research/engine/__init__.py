"""Event studies on arrays."""
