"""Model bundles: a ZIP with a hidden Markov model, a PPO policy and all their metadata (DESIGN §4)."""
