"""Versions: of this package, and of the contract that it speaks."""

VERSION = "0.1.0"
CONTRACT = "2026-11-25"
