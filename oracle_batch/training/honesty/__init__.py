"""How much a result may be believed: chance, selection, and what doing nothing clever would have made."""
