"""How often each outcome comes where two memory-1 policies meet, in torch.

`loqa.agents.memory1` computes the same numbers to the last digit for probabilities however close to 0 or
1, without derivatives. Here a linear solver does it: its error grows like 1 / (1 - g), and derivatives of
every order go through it. By elimination, without a solver, an update of LOLA takes twice as long.
"""

from __future__ import annotations

import torch
from torch import Tensor

_PARTS = (slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5))


def visits(mine: Tensor, theirs: Tensor, discount: float, steps: int | None = None) -> Tensor:
    """Discounted expected number of times that each outcome occurs, `[..., 4]`.

        d0 (I - g M)^-1,   for T steps: sum_{t<T} g^t d0 M^t

    d0 is the distribution of the first outcome, M the transition matrix, both over CC, CD, DC, DD as I see
    them.

    Args:
        mine, theirs: logits of C at the start and after CC, CD, DC, DD, own action first, `[..., 5]`; for
            one step the start's alone, `[..., 1]`.
        discount: g.
        steps: T; None is a game without end, g < 1.
    """
    if steps != 1:
        # By slices: an index of a list costs a scatter in every derivative.
        start_cc, cd, dc, dd = (theirs[..., part] for part in _PARTS)
        theirs = torch.cat([start_cc, dc, cd, dd], -1)  # as I see the states
    p, not_p = torch.sigmoid(mine), torch.sigmoid(-mine)  # 1 - p would lose what is near 0
    q, not_q = torch.sigmoid(theirs), torch.sigmoid(-theirs)
    outcomes = torch.stack([p * q, p * not_q, not_p * q, not_p * not_q], -1)
    state = outcomes[..., 0, :]
    if steps == 1:
        return state
    chain = discount * outcomes[..., 1:, :]
    if steps is None:
        identity = torch.eye(4, dtype=chain.dtype, device=chain.device)
        forever: Tensor = torch.linalg.solve(identity - chain.mT, state)
        return forever
    total: Tensor = state
    for _ in range(steps - 1):
        state = (state[..., None, :] @ chain)[..., 0, :]
        total = total + state
    return total
