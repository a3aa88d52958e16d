"""What survives between two runs: the state folder's files, each replaced or appended in one piece (DESIGN §5)."""
