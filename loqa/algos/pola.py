"""POLA-DiCE: LOLA-DiCE as proximal steps in the space of policies.

Proximal learning with opponent-learning awareness (Zhao et al., NeurIPS 2022). LOLA's step depends on how
policies are parameterised; a penalty on how far a policy moves does not. One update of player i:

    repeat outer_steps times, pi_i^old and theta_j held:
        u = theta_j;  repeat inner_steps times, on fresh episodes of (theta_i, u):
            u <- u + eta grad_u [ J_j(theta_i, u) - beta_in KL(pi_j^old || pi_u) ]
        theta_i <- Adam step of grad_i [ J_i(theta_i, u) - beta_out KL(pi_i^old || pi_i) ]

on fresh episodes of (theta_i, u), through every u. KL is the mean over the states of those episodes. With
both penalties 0 and one outer step this is LOLA-DiCE. The paper iterates both problems to convergence; the
published code takes a fixed number of steps, as here.

The native GRU has first derivatives alone; the gradient through the others' steps needs second ones, so
that recurrent actors are computed step by step in torch (`Agent.acting`).
"""

from __future__ import annotations

from loqa.algos.lola import ALONE, LOLA, NOISE
from loqa.algos.lookahead import POLASettings
from loqa.algos.registry import register

# Of a table: found on seeds 0 and 1. With a network as published: loaded, inner_steps 2, inner_lr 0.005,
# inner_kl 10, outer_kl 100, outer_steps 200, actor_lr 0.003.
TABLE = {
    "objective": "dice",
    "inner_kl": 0.0,
    "outer_kl": 25.0,
    "outer_steps": 100,
    "inner_lr": 0.5,
    "actor_lr": 0.05,
    "iterations": 4,
    "log_every": 1,
}
register(
    "pola", LOLA, POLASettings, "POLA-DiCE", {"": ALONE, "ipd": TABLE, "matrix": TABLE, **NOISE}
)
