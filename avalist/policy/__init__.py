"""Policy: score -> action."""
