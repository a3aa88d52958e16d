"""Spotware's Open API as both ends speak it: messages, frames, scales."""
