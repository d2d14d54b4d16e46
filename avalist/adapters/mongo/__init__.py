"""What needs MongoDB, or a server that speaks its protocol."""
