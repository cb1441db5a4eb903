"""What is no part of the game."""
