"""``python -m oracle_batch``."""

from oracle_batch.cli import main

main()
