"""What a run needs, by arithmetic: trainable parameters and memory, from a model's shape alone."""
