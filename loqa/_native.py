"""The compiled core, or a clear word on how to get it."""

import pkgutil

import loqa
from loqa import _checks

try:
    import loqa._core as core
except ImportError as not_beside_us:
    # `import loqa` in a checkout finds these sources before an installed package: let the
    # installed one lend its compiled module.
    loqa.__path__ = pkgutil.extend_path(loqa.__path__, "loqa")
    try:
        import loqa._core as core
    except ImportError:
        raise ImportError(
            "loqa's compiled core (loqa._core) is missing or does not fit this Python. Build and "
            "install it with `python -m pip install .` (or `-e .` to work on it) in the checkout; "
            f"a C++20 compiler is all it needs. The import failed with: {not_beside_us}"
        ) from not_beside_us

__all__ = ["core", "threads"]


def threads(given: int | None) -> int:
    """`num_threads` as it is given; by default all cores."""
    if given is None:
        return core.default_num_threads()
    return _checks.integer("num_threads", given, 1, 1024)
