"""``python -m avalist``."""

from avalist.cli import main

main()
