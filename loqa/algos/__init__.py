"""Learning algorithms: pure loss functions of a trajectory, and the updates that use them."""

from typing import TYPE_CHECKING

from loqa._lazy import lazy

if TYPE_CHECKING:
    from loqa.algos import exact as exact
    from loqa.algos.base import Algorithm as Algorithm
    from loqa.algos.registry import register as register
    from loqa.algos.trajectory import Trajectory as Trajectory

__getattr__, __all__ = lazy(
    __name__,
    {
        "Algorithm": "loqa.algos.base",
        "exact": "loqa.algos.exact",
        "Trajectory": "loqa.algos.trajectory",
        "register": "loqa.algos.registry",
    },
)
