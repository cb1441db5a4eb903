"""A run's weights for others: adapters or whole models, with prompts, results and a model card."""
