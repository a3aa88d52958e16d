"""What would bite in production: a bundle looked at over a history, before it trades."""
