"""Nouns: money, events, facts, schema, records, decisions, errors. Needs msgspec alone."""
