"""The pages that are made from the code are up to date, and whole."""

from __future__ import annotations

import re

import pytest
from reference import DOCS, METRICS_SECTIONS, PAGES, SETTINGS_SECTIONS, metrics_page, settings_page

from gateway.config import SETTINGS, env_name


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_what_the_code_says(page: str) -> None:
    """After a change to a setting or a series: `make docs`, and commit what it wrote."""
    assert (DOCS / page).read_text() == PAGES[page](), f"docs/{page} is not up to date: run `make docs`"


def test_each_setting_is_in_a_section() -> None:
    """Once, and every section begins with a setting that there is."""
    assert SETTINGS_SECTIONS.keys() <= SETTINGS.keys()
    assert next(iter(SETTINGS)) in SETTINGS_SECTIONS
    page = settings_page()
    assert [page.count(f"| `{env_name(name)}` |") for name in SETTINGS] == [1] * len(SETTINGS)


def test_secrets_are_marked_and_not_shown() -> None:
    """Which may lie in a file; a default that is one would be shown hidden."""
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `GATEWAY_(\w+)` .*$", settings_page(), re.MULTILINE)}
    for name, setting in SETTINGS.items():
        assert ("*secret*" in rows[name.upper()]) is setting.secret


def test_each_section_of_metrics_has_some() -> None:
    """And every series says what it is."""
    page = metrics_page()
    for title in METRICS_SECTIONS:
        assert re.search(rf"^## {title}\n\n.*\n.*\n\| `", page, re.MULTILINE), title
    assert not re.search(r"\|  \|$", page, re.MULTILINE)
