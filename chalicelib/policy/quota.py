"""How much a project may store: what is refused, what is warned of, and in which words.

Invariant: what adds nothing is never refused by what is stored already.

Specification: the storage quota of Harbor 2.16, whose words these are: tools look for them.
"""

UNLIMITED = -1
# Harbor warns from so many hundredths of the limit on.
WARNING_PERCENT = 85
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024


def exceeded(adding: int, used: int, limit: int) -> str:
    """Return why bytes that would be added to what is used are refused, and what to do."""
    return (
        f"adding {_size(adding)} of storage resource, which when updated to current usage of {_size(used)} "
        f"will exceed the configured upper limit of {_size(limit)}. "
        "Delete artifacts of the project, or ask an administrator for a larger quota"
    )


def full(used: int, limit: int) -> str:
    """Return why a project that is full takes nothing, and what to do."""
    return (
        f"the project uses {_size(used)} of its storage quota of {_size(limit)}: "
        "delete artifacts of it, or ask an administrator for a larger quota"
    )


def warns(before: int, after: int, limit: int) -> bool:
    """Tell whether what is used has come so near to the limit that its owners should know, just now."""
    return before * 100 < limit * WARNING_PERCENT <= after * 100


def _size(amount: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in _UNITS:
        if amount < _STEP or unit == _UNITS[-1]:
            break
        amount /= _STEP
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
