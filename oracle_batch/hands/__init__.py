"""The hands compare what the brain wants with what the broker holds, and decide what can be granted (DESIGN §6)."""
