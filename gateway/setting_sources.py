"""Where settings are given: environment, TOML file, flags, and files that hold one secret each.

A source is read into a layer, what it gives by attribute name; `find` looks through layers in order. What is
wrong is raised as a `ValueError` whose text is a whole problem for people to read, without any secret.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

# What Kubernetes injects into every pod for a Service called `gateway`, or `gateway-` and something.
_SERVICE_LINK = re.compile(
    r"GATEWAY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")

SECRET_FILE = "secret file "
"""How a source begins that is the file of one secret; its path follows."""


def env_name(name: str) -> str:
    return "GATEWAY_" + name.upper()


def from_environment(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables that are meant for us, and a warning about those that only look like it.

    An empty variable counts as unset: `${X:-}` in a compose file gives one.
    """
    ours = {name: value for name, value in environ.items() if name.startswith("GATEWAY_") and value}
    links = sorted(name for name, value in ours.items() if _is_service_link(name, value))
    if not links:
        return ours, []
    warning = (
        f"ignored {', '.join(links)}: Kubernetes injects them for a Service of this name; "
        "set enableServiceLinks: false on the pod"
    )
    return {name: value for name, value in ours.items() if name not in links}, [warning]


def _is_service_link(name: str, value: str) -> bool:
    if name.endswith("_PORT") and _SERVICE_ADDRESS.match(value):
        return True
    return _SERVICE_LINK.fullmatch(name) is not None


def from_toml(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"--config {path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"--config {path}: not TOML: {error}") from None


def layer(source: str, given: Mapping[str, Any], names: Collection[str], problems: list[str]) -> dict[str, Any]:
    """`given` by attribute name: `GATEWAY_PORT` and `port` are `port`. Others go to `problems`."""
    known: dict[str, Any] = {}
    for key, value in given.items():
        name = key.removeprefix("GATEWAY_").lower()
        if name in known:
            problems.append(f"{env_name(name)} ({source}): given twice")
        elif name in names:
            known[name] = value
        else:
            nearest = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {env_name(nearest[0])}?" if nearest else "`gateway config` lists them all"
            problems.append(f"{key} ({source}): no such setting; {hint}")
    return known


def find(name: str, layers: Mapping[str, Mapping[str, Any]]) -> tuple[str, Any]:
    """Where a setting comes from and what is given there; `default` and `None` when nowhere."""
    for source, given in layers.items():
        setting, path = env_name(name), given.get(f"{name}_file")
        if path and name in given:
            raise ValueError(f"{setting} and {setting}_FILE ({source}): set only one of them")
        if path:
            return f"{SECRET_FILE}{path}", secret(f"{setting}_FILE", str(path))
        if name in given:
            return source, given[name]
    return "default", None


def secret(setting: str, path: str) -> str:
    """What the file of a secret holds, without the final line end."""
    try:
        content = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{setting}: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{setting}: {path} is not UTF-8 text") from None
    if not content:
        raise ValueError(f"{setting}: {path} is empty")
    return content


def colours_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether people want text for a terminal in colour: no-color.org, and terminals that know none."""
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
