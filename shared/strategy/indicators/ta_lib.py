"""TA-Lib, without pandas: where that is installed TA-Lib loads it, a third of a service's start and of its memory,
and then asks of every argument whether it is one of its Series. Ours are arrays."""

import sys
from typing import Any, cast

_WRAPPED = ("pandas", "polars")
_loaded = {name: sys.modules[name] for name in _WRAPPED if name in sys.modules}
_modules = cast("dict[str, Any]", sys.modules)  # where None stands, an import fails as if there were no such module
_modules.update(dict.fromkeys(_WRAPPED))
try:
    import talib
finally:
    for name in _WRAPPED:
        del _modules[name]
    _modules.update(_loaded)

__all__ = ["talib"]
