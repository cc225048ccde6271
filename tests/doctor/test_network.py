"""Below HTTP: where nobody is, and what TLS says."""

from __future__ import annotations

import json

import pytest
from doctor.examining import examined
from integration.helping import gateway_command
from nginx import NginxServer, needs_nginx
from servers import HOST, free_port
from web.inprocess import served

from gateway.doctor import network
from gateway.doctor.deployment import Deployment, Who
from gateway.doctor.report import CannotExamine, Outcome


async def test_a_wrong_port() -> None:
    """Nothing listens: the question is whether the port is right."""
    with pytest.raises(CannotExamine, match=r"cannot connect \(Connection refused\); is the port right"):
        await examined(f"http://{HOST}:{free_port()}")


async def test_a_wrong_name() -> None:
    """A name that nobody knows."""
    with pytest.raises(CannotExamine, match=r"the name gateway\.invalid is not known here"):
        await examined("http://gateway.invalid")


async def test_no_tls() -> None:
    """https:// to what speaks plain HTTP."""
    async with served() as gateway:
        with pytest.raises(CannotExamine, match="is it HTTPS that is spoken there"):
            await examined(gateway.url.replace("http://", "https://"))


@pytest.mark.parametrize(("host", "local"), [("localhost", True), ("127.0.0.1", True), ("[::1]", True), ("g", False)])
def test_secrets_over_plain_http(host: str, local: bool) -> None:
    """Within a machine they may go as they are."""
    deployment = Deployment(f"http://{host}", Who(user="doctor"), run="r")
    assert (network._plain(deployment.host).outcome is Outcome.OK) == local


@needs_nginx
async def test_over_tls() -> None:
    """A certificate that does not verify is no deployment; one that does is told with its days, and HTTP/2."""
    async with served() as gateway, NginxServer(gateway.port, overlays=("tls",)) as nginx:
        flags = ("--internal", gateway.url, "--json", "--idle", "0.1", "--connections", "2")
        unknown = await gateway_command("doctor", nginx.url, *flags)
        assert (unknown.status, unknown.out) == (2, "")
        assert "its certificate does not verify (" in unknown.err and "; renew it, or name" in unknown.err
        known = await gateway_command("doctor", nginx.url, *flags, env={"SSL_CERT_FILE": str(nginx.certificate)})
    assert known.status == 0, known.out + known.err
    checks = {check["check"]: check for check in json.loads(known.out)["checks"]}
    assert checks["tls"]["says"].startswith("TLSv1.3 in ")
    assert checks["tls"]["outcome"] == "hint"
    assert checks["http2"]["outcome"] == "ok"
    assert checks["resume"]["outcome"] == "ok"
