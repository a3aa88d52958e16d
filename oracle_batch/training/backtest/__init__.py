"""The live decision code over history: the brain alone, and with hands and market."""
