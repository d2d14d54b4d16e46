"""Ports: what the core asks of the world, as Protocols with contracts in prose. One contract test class each."""
