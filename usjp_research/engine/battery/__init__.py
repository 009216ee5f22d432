"""Every published test, on any panel."""
