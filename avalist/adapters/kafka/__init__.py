"""Apache Kafka: one partition of a topic as a log."""
