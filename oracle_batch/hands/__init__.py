"""The hands: what to do about a signal, given what the broker holds. Pure functions over plain values (DESIGN §6)."""
