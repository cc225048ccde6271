from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from certificates import Authority

from gateway.broker.redis.urls import BrokerUrlError, Files, Login, Target, read

UNUSABLE = [
    "redis://:hunter2@h:not-a-port",
    "redis://:hunter2/x@h:6379",
    "redis://:hunter2#x@h:6379",
    "redis://:hunter2@h:70000",
    "redis://:hunter2@h:0",
    "redis://:hunter2@[::1",
    "redis://:hunter2@h/one",
    "redis://:hunter2@h1,h2",
    "redis://h?password=hunter2&db=x",
    "redis://h?password=hunter2&no_such_option=1",
    "redis://h?sentinel_password=hunter2",
    "redis://:hunter2@h?ssl_cert_reqs=required",
    "rediss://:hunter2@h?ssl_cert_reqs=perhaps",
    "rediss://:hunter2@h?ssl_check_hostname=hunter2",
    "redis://:hun?ter2@h",
    "unix://:hunter2@relative/path",
    "redis+sentinel://:hunter2@h1,h2",
    "redis+sentinel://:hunter2@h1,h2/",
    "redis+sentinel://:hunter2@h1,,h2/main",
    "redis+sentinel://:hunter2@h1/main/zero",
    "redis+cluster://:hunter2@h1,,h2",
    "redis+cluster://:hunter2@h1/1",
    "redis+cluster://:hunter2@h1?sentinel_password=hunter2",
    "hunter2://h",
    "http://:hunter2@h",
    "redis",
]


@pytest.mark.parametrize("url", UNUSABLE)
def test_a_url_that_cannot_be_used(url: str) -> None:
    """It is refused when it is read, and the error holds no part of it but the scheme."""
    with pytest.raises(BrokerUrlError) as raised:
        read(url)
    told = str(raised.value).removeprefix(url.partition("://")[0])
    assert "hunter2" not in told
    assert "ter2" not in told
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ is not None


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://h", Target((("h", 6379),))),
        ("redis://h:1/", Target((("h", 1),))),
        ("redis://:6380/2", Target((("localhost", 6380),), db=2)),
        ("redis://[::1]:6380?db=2", Target((("::1", 6380),), db=2)),
        ("redis://ann:p%40ss@h", Target((("h", 6379),), login=Login("ann", "p@ss"))),
        ("redis://:p:ss@h", Target((("h", 6379),), login=Login("", "p:ss"))),
        ("redis://h?username=ann&password=p%2Fss", Target((("h", 6379),), login=Login("ann", "p/ss"))),
        (
            "redis+cluster://ann:one@h1:7000,h2/0",
            Target((("h1", 7000), ("h2", 6379)), cluster=True, login=Login("ann", "one")),
        ),
        ("unix:///run/redis.sock?db=3", Target(path="/run/redis.sock", db=3)),
        ("unix://:pass@/run/a%20b.sock", Target(path="/run/a b.sock", login=Login("", "pass"))),
        (
            "redis+sentinel://ann:one@h1:5,h2,[::1]:7/main/2?sentinel_password=two",
            Target(
                (("h1", 5), ("h2", 26379), ("::1", 7)),
                service="main",
                db=2,
                login=Login("ann", "one"),
                sentinel_login=Login("", "two"),
            ),
        ),
    ],
)
def test_what_a_url_says(url: str, target: Target) -> None:
    """Hosts, service, database and both logins."""
    assert read(url) == target


def test_a_target_does_not_show_its_password() -> None:
    """What may stand in a log line or an error is where, not as whom."""
    assert "hunter2" not in repr(read("redis+sentinel://u:hunter2@h/main?sentinel_password=hunter2"))


# TLS


def test_whom_to_trust(tmp_path: Path) -> None:
    """The CA of the settings, or of the URL; without one the system's; checks only go when they are told to."""
    ca = str(Authority(tmp_path).certificate)
    for url, files in (("rediss://h", Files(ca)), (f"rediss+sentinel://h/s?ssl_ca_certs={ca}", Files())):
        tls = read(url, files).tls
        assert tls is not None
        assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert len(tls.get_ca_certs()) == 1
    unnamed = read("rediss://h?ssl_check_hostname=false").tls
    assert unnamed is not None
    assert (unnamed.verify_mode, unnamed.check_hostname) == (ssl.CERT_REQUIRED, False)
    unchecked = read("rediss://h?ssl_cert_reqs=none").tls
    assert unchecked is not None
    assert unchecked.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize(
    ("files", "field", "says"),
    [
        (Files("/nowhere/ca.pem"), "redis_ca_file", "/nowhere/ca.pem: No such file"),
        (Files("not a pem"), "redis_ca_file", "expected certificates in PEM form"),
        (Files("/"), "redis_ca_file", "expected certificates in PEM form"),
        (Files(None, "/nowhere/cert.pem", "/nowhere/key.pem"), "redis_cert_file", "No such file"),
        (Files(None, "not a pem"), "redis_cert_file", "expected a certificate and its key"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, files: Files, field: str, says: str) -> None:
    """The error names the setting and the file, and what should be in it."""
    junk = tmp_path / "junk.pem"
    junk.write_text("this is not a certificate")
    with pytest.raises(BrokerUrlError) as raised:
        read("rediss://h", Files(*(str(junk) if name == "not a pem" else name for name in files)))
    assert raised.value.field == field
    assert says in raised.value.detail


def test_a_ca_that_would_not_be_used(tmp_path: Path) -> None:
    """Whoever names a CA believes that the connection is encrypted: without TLS that is an error."""
    with pytest.raises(BrokerUrlError, match="rediss://") as raised:
        read("redis://h", Files(str(Authority(tmp_path).certificate)))
    assert raised.value.field == "redis_ca_file"
