"""Algorithms that train the policies of both roles, and the trainer that runs them."""
