"""The direction of imports, read from the source: core ← {auth, hub, broker} ← relay ← web ← app ← cli."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "gateway"
ROOT = Path(__file__).parent.parent

# A layer's modules, packages with all that is in them. A new module needs a place here.
LAYERS = {
    "core": (
        "errors",
        "ids",
        "channels",
        "events",
        "cloudevents",
        "encodings",
        "event_stream",
        "frames",
        "publisher",
        "distribution",
        "buckets",
    ),
    "loop": ("fair",),
    "settings": ("config", "setting_kinds", "setting_sources"),
    "auth": ("auth",),
    "catalogue": ("catalogue",),
    "hub": ("hub",),
    "broker": ("broker",),
    "relay": ("relay", "healing", "guide", "relays"),
    "telemetry": ("telemetry",),
    "web": ("web",),
    "client": ("client",),
    "bench": ("bench",),
    "doctor": ("doctor",),
    "app": ("app", "adapters", "signals", "workers"),
    "cli": ("cli", "__main__"),
}

# What a layer may import of this package besides itself and the version.
MAY_IMPORT = {
    "core": set(),
    "loop": set(),
    "settings": {"core"},
    "auth": {"core", "settings"},
    "catalogue": {"core", "settings"},
    "hub": {"core"},
    "broker": {"core"},
    "relay": {"core", "hub", "broker"},
    "telemetry": {"core", "hub", "broker", "relay"},
    "web": {"core", "loop", "hub", "broker", "relay", "settings", "telemetry", "auth", "catalogue"},
    "client": {"core", "settings", "broker"},
    "bench": {"core", "client"},
    "doctor": {"core", "client"},
    "app": {"core", "loop", "hub", "broker", "relay", "settings", "telemetry", "web", "auth", "catalogue"},
    "cli": {"core", "settings", "auth", "client", "bench", "doctor", "app", "catalogue"},
}

# Who may import what; the names are modules, with all that is below them.
ONLY_THESE = {
    ("aiohttp", "aiohttp_sse"): ("web", "app", "cli", "client.http", "client.subscriber", "doctor"),
    ("yaml", "jsonschema_rs"): ("catalogue",),
    ("redis", "hiredis"): ("broker.redis", "client.redis"),
}
CLIENT_OF_BROKER = (
    "broker.base",
    "broker.spread",
    *(f"broker.redis.{name}" for name in ("publisher", "connect", "partitions", "urls")),
)
ADAPTERS = ("broker.memory", "broker.memory_fleet", "broker.memory_registry", "broker.redis")
TRANSPORTS = ("client.http", "client.redis", "client.subscriber.http")
IO_AND_CLOCK = [
    "asyncio",
    "os",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib.request",
]


class Import(NamedTuple):
    """One imported module, by its full name; `deferred` when it is imported by a call, or for types only."""

    file: str
    line: int
    importer: str
    target: str
    deferred: bool


def sources(root: Path) -> dict[str, Path]:
    """The package's modules by name, `gateway` itself included."""
    found = {}
    for file in sorted((root / PACKAGE).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(root: Path) -> Iterator[Import]:
    modules = sources(root)
    for name, file in modules.items():
        tree = ast.parse(file.read_text(), str(file))
        deferred = {node for place in ast.walk(tree) if defers(place) for node in ast.walk(place)}
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(tree):
            for target in targets(node, package, modules):
                line = getattr(node, "lineno", 0)
                yield Import(str(file.relative_to(root)), line, name, target, node in deferred)


def defers(node: ast.AST) -> bool:
    """Whether what it holds is not executed when its module is imported."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def targets(node: ast.AST, package: str, modules: dict[str, Path]) -> list[str]:
    """The modules that a statement imports: `from . import a` is an import of `a` when that is a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parts = package.split(".")
        base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
    return [f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base for alias in node.names]


def within(module: str, *names: str) -> bool:
    """Whether a module is one of these (named without the package), or in one of them."""
    return any(f"{module}.".startswith(f"{PACKAGE}.{name}.") for name in names)


def layer(module: str) -> str | None:
    return next((layer for layer, names in LAYERS.items() if within(module, *names)), None)


def is_ours(module: str) -> bool:
    return f"{module}.".startswith(f"{PACKAGE}.")


# The rules. Each gives the sentence that an import breaks, or None.


def downward(found: Import) -> str | None:
    importer, target = layer(found.importer), layer(found.target)
    if importer is None or target is None or importer == target or target in MAY_IMPORT[importer]:
        return None
    allowed = ", ".join(sorted(MAY_IMPORT[importer])) or "nothing else"
    return f"of this package {importer} imports only itself and {allowed}"


def core_is_pure(found: Import) -> str | None:
    if layer(found.importer) != "core" or layer(found.target) == "core":
        return None
    if found.target.split(".")[0] not in sys.stdlib_module_names:
        return "the core imports only the standard library and itself"
    if any(f"{found.target}.".startswith(f"{name}.") for name in IO_AND_CLOCK):
        return "the core does no I/O and has no clock"
    return None


def libraries_stay_where_they_belong(found: Import) -> str | None:
    for libraries, places in ONLY_THESE.items():
        if found.target.split(".")[0] in libraries and not within(found.importer, *places):
            return f"only {', '.join(places)} import {' or '.join(libraries)}"
    return None


def the_relay_knows_the_port(found: Import) -> str | None:
    if layer(found.importer) in ("relay", "telemetry", "web") and within(found.target, *ADAPTERS):
        return "which broker it is, only app knows; all others know broker.base"
    return None


def the_client_takes_little_of_the_broker(found: Import) -> str | None:
    if layer(found.importer) != "client" or layer(found.target) != "broker":
        return None
    if not within(found.importer, "client.redis"):
        return "of the client only client.redis knows the broker"
    if not within(found.target, *CLIENT_OF_BROKER):
        return f"of the broker the client takes only {', '.join(CLIENT_OF_BROKER)}"
    return None


def the_client_loads_what_it_uses(found: Import) -> str | None:
    users = ("client", "bench", "cli")  # the doctor is itself imported when it is called
    if within(found.importer, *TRANSPORTS) or found.deferred:
        return None
    if layer(found.importer) in users and within(found.target, *TRANSPORTS):
        return f"{', '.join(TRANSPORTS)}: imported when one is used, inside a function"
    return None


RULES: list[Callable[[Import], str | None]] = [
    downward,
    core_is_pure,
    libraries_stay_where_they_belong,
    the_relay_knows_the_port,
    the_client_takes_little_of_the_broker,
    the_client_loads_what_it_uses,
]


def broken_by_imports(root: Path, rule: Callable[[Import], str | None]) -> list[str]:
    return [
        f"{found.file}:{found.line}: {found.importer} imports {found.target}; the rule: {sentence}"
        for found in imports(root)
        if (sentence := rule(found)) is not None
    ]


def without_a_layer(root: Path) -> list[str]:
    return [
        f"{file.relative_to(root)}:1: {name} is in no layer; the rule: every module has a place in LAYERS"
        for name, file in sources(root).items()
        if name != PACKAGE and layer(name) is None
    ]


def readers_of_the_environment(root: Path) -> list[str]:
    rule = "only config and the setting_ modules read the environment"
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    broken = []
    for name, file in sources(root).items():
        if layer(name) == "settings":
            continue
        for node in ast.walk(ast.parse(file.read_text(), str(file))):
            used: set[str] = set()
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                used = {node.attr} & names
            elif isinstance(node, ast.ImportFrom) and node.module == "os":
                used = {alias.name for alias in node.names} & names
            line = getattr(node, "lineno", 0)
            broken += [f"{file.relative_to(root)}:{line}: {name} uses os.{word}; the rule: {rule}" for word in used]
    return broken


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_imports_keep_the_rules(rule: Callable[[Import], str | None]) -> None:
    """No import of the package goes against the direction, or to a library that has no business there."""
    broken = broken_by_imports(ROOT, rule)
    assert not broken, "\n" + "\n".join(broken)


def test_every_module_is_in_a_layer() -> None:
    """A new module is given its place before it can be imported from anywhere."""
    broken = without_a_layer(ROOT)
    assert not broken, "\n" + "\n".join(broken)


def test_only_the_settings_read_the_environment() -> None:
    """What a process is told by its environment all goes through the settings, and is shown by `gateway config`."""
    broken = readers_of_the_environment(ROOT)
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize("module", ["client", "hub", "events", "relay"])
def test_importing_it_is_cheap(module: str) -> None:
    """What a backend service imports brings neither an HTTP nor a Redis library into its process."""
    code = f"import sys, {PACKAGE}.{module}; print(*{{'aiohttp', 'redis', 'hiredis'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# The reading itself, on packages made up for it.


@pytest.mark.parametrize(
    ("file", "source", "line", "imported", "rule"),
    [
        ("ids.py", "import msgspec", 1, "msgspec", "the core imports only the standard library"),
        ("ids.py", "import asyncio", 1, "asyncio", "the core does no I/O"),
        ("ids.py", "import re\nimport os.path", 2, "os.path", "the core does no I/O"),
        ("ids.py", "from . import config", 1, "gateway.config", "of this package core imports only itself"),
        ("hub/hub.py", "\n\nfrom ..broker.base import B", 3, "gateway.broker.base", "of this package hub"),
        ("hub/__init__.py", "from ..relay import Relay", 1, "gateway.relay", "of this package hub"),
        ("broker/redis/link.py", "from ... import hub", 1, "gateway.hub", "of this package broker"),
        ("broker/base.py", "import gateway.app", 1, "gateway.app", "of this package broker"),
        ("broker/base.py", "import redis.asyncio", 1, "redis.asyncio", "only broker.redis, client.redis"),
        ("relay.py", "def f():\n    import aiohttp", 2, "aiohttp", "only web, app, cli, client.http"),
        ("relay.py", "from .broker import memory", 1, "gateway.broker.memory", "which broker it is"),
        ("telemetry/metrics.py", "from aiohttp import web", 1, "aiohttp", "only web, app, cli, client.http"),
        ("web/x.py", "from hiredis import Reader", 1, "hiredis", "only broker.redis, client.redis"),
        ("web/x.py", "if True:\n  from ..cli import main", 2, "gateway.cli", "of this package web"),
        ("client/x.py", "from ..broker.base import B", 1, "gateway.broker.base", "of the client only client.redis"),
        ("client/redis.py", "from ..broker import memory", 1, "gateway.broker.memory", "of the broker the client"),
        ("client/choose.py", "from .http import T", 1, "gateway.client.http", "client.http, client.redis"),
    ],
)
def test_a_broken_rule_is_told_with_its_place(
    tmp_path: Path, file: str, source: str, line: int, imported: str, rule: str
) -> None:
    """A bad import is reported with its file, its line and the sentence that it breaks."""
    made_up(tmp_path, {file: source})
    broken = [complaint for check in RULES for complaint in broken_by_imports(tmp_path, check)]
    importer = f"{PACKAGE}.{file.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"
    expected = f"{PACKAGE}/{file}:{line}: {importer} imports {imported}; the rule: {rule}"
    assert [complaint for complaint in broken if complaint.startswith(expected)], broken


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ids.py", "import re\nfrom .errors import E\nfrom . import errors"),
        ("hub/hub.py", "from ..ids import EventId\nfrom .x import X\nfrom . import x\nimport asyncio"),
        ("broker/redis/link.py", "from ..base import B\nfrom redis.asyncio import Redis\nimport hiredis"),
        ("client/choose.py", "from .. import config\n\ndef f():\n    from .http import T\n    from . import redis"),
        ("client/x.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .http import T"),
        ("client/redis.py", "import redis\nfrom ..broker.base import B\nfrom ..broker.redis.connect import client"),
        ("telemetry/metrics.py", "from .. import __version__\nfrom ..hub import Hub"),
    ],
)
def test_what_is_allowed_is_not_told(tmp_path: Path, file: str, source: str) -> None:
    """Imports downward, within a layer, and of a library at its place break no rule."""
    made_up(tmp_path, {file: source})
    assert [line for rule in RULES for line in broken_by_imports(tmp_path, rule)] == []


@pytest.mark.parametrize(
    ("source", "use"),
    [
        ("import os\nos.environ['A']", "2: gateway.app uses os.environ"),
        ("import os\n\ndef f(e=os.getenv):\n    pass", "3: gateway.app uses os.getenv"),
        ("from os import environ", "1: gateway.app uses os.environ"),
    ],
)
def test_a_look_at_the_environment_is_told(tmp_path: Path, source: str, use: str) -> None:
    """Reading the environment elsewhere is reported; the settings may."""
    made_up(tmp_path, {"app.py": source, "config.py": source, "setting_sources.py": source})
    [line] = readers_of_the_environment(tmp_path)
    assert line.startswith(f"{PACKAGE}/app.py:{use}; the rule: only config")


def test_a_module_without_a_layer_is_told(tmp_path: Path) -> None:
    """A module that nobody gave a place is reported, the package's own file is not."""
    made_up(tmp_path, {"__init__.py": "", "newcomer.py": "", "web/newcomer.py": ""})
    [line] = without_a_layer(tmp_path)
    assert line.startswith(f"{PACKAGE}/newcomer.py:1: gateway.newcomer is in no layer")


def made_up(root: Path, files: dict[str, str]) -> None:
    """A package with these files, and enough modules beside them to be imported."""
    apart = ("app", "cli", "config", "errors", "relay", "hub/__init__", "hub/x", "client/http", "client/redis")
    brokers = ("broker/__init__", "broker/base", "broker/memory", "broker/redis/__init__", "broker/redis/connect")
    for name, source in ({f"{name}.py": "" for name in (*apart, *brokers)} | files).items():
        file = root / PACKAGE / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
