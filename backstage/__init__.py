"""What the four stages stand on: each module answers one question, said in its first line."""
