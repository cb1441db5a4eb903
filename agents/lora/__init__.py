"""LoRA-adapted and whole language models as policies of the game."""
