"""Continuous games: the prisoner's dilemma of degrees, and Cournot's duopoly."""
