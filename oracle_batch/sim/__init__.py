"""The simulator: a market behind an Open API server on loopback."""
