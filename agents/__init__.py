"""Agents that play the seats: scripted ones, a human, and LoRA-adapted language models."""
