"""OpenTelemetry: spans to a collector."""
