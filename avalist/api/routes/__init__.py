"""Routes: decisions on the raw edge, the rest on Starlette."""
