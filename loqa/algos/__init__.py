"""Learning algorithms: pure loss functions of a trajectory and the update step."""
