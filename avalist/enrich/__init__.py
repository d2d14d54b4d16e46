"""Enrich: raw event -> facts, keys and fold row. Pure; the tables it reads are versioned."""
