"""Matrix games: the iterated prisoner's dilemma and its kin."""
