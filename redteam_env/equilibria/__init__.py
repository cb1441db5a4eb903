"""Equilibria of tables of payoffs, and dynamics on them."""
