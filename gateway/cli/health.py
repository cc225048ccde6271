"""`gateway health`: for a container's health check, which has no curl.

It asks over HTTP where `gateway serve` with the same settings listens. Without `--ready` it asks what `/livez` says:
orchestrators that restart what is not healthy must not do so because Redis is away.
"""

from __future__ import annotations

import argparse
import json
from http.client import HTTPConnection, HTTPException

from .common import Commands, Stop, add_server_flags, declare, settings_of

WITHIN = 4.0
"""Seconds for the whole answer: less than health checks wait (30 s by Docker's default, 1 s by Kubernetes')."""
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}

EXAMPLES = """
    gateway health                   lives; if not, it must be restarted
    gateway health --ready           takes new streams; if not, says why
"""


def add(commands: Commands) -> None:
    parser = declare(commands, "health", run, "Ask the gateway on this machine how it is.", EXAMPLES)
    parser.add_argument("--ready", action="store_true", help="whether new streams should come here (/readyz)")
    parser.add_argument("--json", action="store_true", help="print the gateway's answer as it is")
    add_server_flags(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args).settings
    path = "/readyz" if args.ready else "/livez"
    status, answer = _ask(ANYWHERE.get(settings.host, settings.host), settings.port, path)
    if args.json:
        print(answer.decode(errors="replace"))
        return 0 if status == 200 else 1
    if status != 200:
        raise Stop(f"{path} says {status}: {_reasons(answer)}")
    print("ready" if args.ready else "alive")
    return 0


def _ask(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(host, port, timeout=WITHIN)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException) as error:
        raise Stop(f"no answer from {host}:{port}: {error or type(error).__name__}") from None
    finally:
        connection.close()


def _reasons(answer: bytes) -> str:
    try:
        return "; ".join(json.loads(answer)["reasons"])
    except (ValueError, KeyError, TypeError):
        return answer[:200].decode(errors="replace")
