"""Avalist: real-time payment-fraud prevention with a model of the merchant's own."""

__version__ = "0.1.0"

ENGINE = 2
"""Raised whenever the outputs of ``decide()`` may change for the same log; see CHANGELOG.md."""
