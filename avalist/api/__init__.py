"""The HTTP edge: routes, wire types, authentication, error table."""
