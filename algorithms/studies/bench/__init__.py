"""The benchmark: every algorithm in every arrangement on equal budgets, ranked with intervals."""
