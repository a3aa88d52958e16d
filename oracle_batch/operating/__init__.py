"""What the operator asks for between bars. Each command does the one thing that was named."""
