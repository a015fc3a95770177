"""What the four stages stand on: each room answers one question, said in its first line."""
