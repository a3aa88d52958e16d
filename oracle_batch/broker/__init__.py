"""Brokers: one small protocol and what stands behind it (DESIGN §7)."""
