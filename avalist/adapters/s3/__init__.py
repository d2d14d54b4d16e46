"""What needs an object storage that speaks S3."""
