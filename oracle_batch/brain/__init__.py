"""The brain: features, regime, policy and twin. Pure NumPy; it never hears about the broker (DESIGN §3)."""
