"""Imports TA-Lib without pandas.

If pandas is installed, TA-Lib imports it, which takes a third of a service's start time and memory, and then checks
every argument for a pandas Series. We pass arrays only.
"""

import sys
from typing import Any, cast

_WRAPPED = ("pandas", "polars")
_loaded = {name: sys.modules[name] for name in _WRAPPED if name in sys.modules}
_modules = cast("dict[str, Any]", sys.modules)  # None makes an import fail as if the module did not exist
_modules.update(dict.fromkeys(_WRAPPED))
try:
    import talib
finally:
    for name in _WRAPPED:
        del _modules[name]
    _modules.update(_loaded)

__all__ = ["talib"]
