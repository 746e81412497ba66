"""Ship Python modules to a server and run them there, without leaving a file behind."""

import base64
import importlib
import json
import zlib
from functools import cache
from pathlib import Path

_BOOT = """
import base64, json, sys, types, zlib
def load(name, source=""):
    parent, _, leaf = name.rpartition(".")
    if parent and parent not in sys.modules:
        load(parent)
    module = sys.modules[name] = types.ModuleType(name)
    if parent:
        setattr(sys.modules[parent], leaf, module)
    exec(compile(source, name, "exec"), module.__dict__)
    return module
for name, source in json.loads(zlib.decompress(base64.b64decode("{packed}"))):
    module = load(name, source)
module.main()
"""


@cache
def ship(*modules: str) -> str:
    """A shell command that loads these modules on the server, in this order, and calls the last one's main().

    They may import each other, under their own names, and the standard library; nothing else is there.
    Cloud images have python3, since cloud-init is written in it.
    """
    sources = [(name, Path(str(importlib.import_module(name).__file__)).read_text()) for name in modules]
    packed = base64.b64encode(zlib.compress(json.dumps(sources).encode(), 9)).decode()
    missing = "echo 'python3 is missing on this server: log in and run: sudo apt-get install python3' >&2"
    return f"command -v python3 >/dev/null || {{ {missing}; exit 1; }}; python3 -I -c '{_BOOT.format(packed=packed)}'"
