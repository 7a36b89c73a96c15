"""jieba without what is never asked of it, which would cost every start a quarter of a second and 13 MB.

Its first line reads the tables it guesses names by, for which we have no use (`HMM=False`); its second looks for
pkg_resources, only to open its own dictionary, which we do not use either.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_TABLES, _SLOW = "jieba.finalseg", "pkg_resources"


def _import() -> Any:
    kept = {name: sys.modules.get(name) for name in (_TABLES, _SLOW)}
    absent: dict[str, Any] = {_TABLES: ModuleType(_TABLES), _SLOW: None}
    sys.modules.update(absent)
    try:
        return import_module("jieba")
    finally:
        for name, module in kept.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


jieba: Any = sys.modules.get("jieba") or _import()
