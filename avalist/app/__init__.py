"""Use cases, one file each. Pure and dated: time comes in with the event."""
