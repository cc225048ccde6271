"""What `gateway catalogue` writes: code that mypy and tsc take, with the types that the schemas have."""

from __future__ import annotations

import importlib.util
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from mypy import api
from npm import bin_of, need_node, ran

from gateway.catalogue import load, python, typescript
from gateway.events import SSEEvent

EVENTS = Path(__file__).parent / "events.yaml"

AWKWARD = r"""
catalogue: 1
title: "Awkward \"quotes\" \\ */ ''' \"\"\" 😀"
categories: {class: "*/ \"\"\"", list-of: b}
events:
  none: {description: "ends a comment */ and \"\"\" a text\nand goes on"}
  "any": {data: {type: [object, "null"], properties: {class: {const: 1}, "__x": {}, "a b": {type: array}}}}
  TypedDict: {data: {enum: [a, 1, true, null, "\"\n\u2028😀"]}}
  record: {data: {type: object, additionalProperties: {type: integer}}}
  array: {data: {type: array, items: {type: object, properties: {x: {type: array, items: {properties: {}}}}}}}
  "1.2": {category: class, data: true}
  1_2: {category: list-of, data: false}
  "a:b": {data: {oneOf: [{type: string}, {$ref: "#/$defs/Tree"}, {type: object, properties: {y: {type: number}}}]}}
  a.b: {data: {allOf: [{$ref: "#/$defs/Tree"}]}}
  A-B: {data: {allOf: [{}, {}]}}
  deep: {data: {anyOf: [{}, {type: string}]}}
  tuple: {data: {type: array, prefixItems: [{type: string}]}}
  float: {data: {enum: [1.5]}}
  empty: {data: {type: object, properties: {}}}
$defs:
  Tree: {type: object, properties: {kids: {type: array, items: {$ref: "#/$defs/Tree"}}, from: {type: string}}}
  tree: {type: string}
  SSEEventType: {$ref: "#/$defs/tree"}
"""

USE = """
from events import Invoice, InvoicePaid, SSEEventType, SyncAccountsCompleted, SyncAccountsFailed

invoice: Invoice = {"id": "a", "lines": []}
paid: InvoicePaid = {"id": "a", "lines": [{"text": "x", "cents": 1}]}
done: SyncAccountsCompleted = {"account_count": 3}
failed: SyncAccountsFailed = {"reason": "timeout", "retry-after": None}
event_type: str = SSEEventType.INVOICE_PAID
"""
MISUSE = {
    'bad_paid: InvoicePaid = {"id": 1, "lines": []}': "typeddict-item",
    'bad_done: SyncAccountsCompleted = {"provider": {"id": "a", "name": "b"}}': "typeddict-item",
    'bad_failed: SyncAccountsFailed = {"reason": "else"}': "typeddict-item",
    "SSEEventType.INVOICE_PAYD": "attr-defined",
}

TS_USE = """
import { SSE_CATEGORIES, SSE_EVENT_TYPES, type SSEEvents, type SSEEventType, type SSEEventCategory } from "./events.js";

declare function on<T extends SSEEventType>(type: T, listener: (data: SSEEvents[T]) => void): void;
on("sync.accounts.completed", (data) => { const count: number = data.account_count; });
on("sync.accounts.completed", (data) => { const name: string | undefined = data.provider?.name; });
on("sync.accounts.failed", (data) => { const wait: number | null | undefined = data["retry-after"]; });
on("invoice.paid", ({ lines }) => lines.map(({ cents }) => cents + 1));
const sync: readonly SSEEventType[] = SSE_CATEGORIES.sync;
const category: SSEEventCategory = "money";
const all: readonly SSEEventType[] = SSE_EVENT_TYPES;
// @ts-expect-error: no such type
on("sync.accounts.complete", () => {});
// @ts-expect-error: a string that it is not
on("sync.accounts.failed", (data) => data.reason === "else");
// @ts-expect-error: it may be absent
on("sync.accounts.completed", (data) => data.provider.name);
"""


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("awkward") / "awkward.yaml"
    file.write_text(AWKWARD)
    return file


def imported(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"generated_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_python_is_what_mypy_takes(awkward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The types fit data that the schemas take, and not what they refuse; awkward names and texts are no trouble."""
    (tmp_path / "events.py").write_text(python.module(load(str(EVENTS))))
    (tmp_path / "awkward.py").write_text(python.module(load(str(awkward))))
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "misuse.py").write_text(USE + "\n".join(MISUSE))
    monkeypatch.setenv("MYPYPATH", str(tmp_path))
    files = [str(tmp_path / name) for name in ("events.py", "awkward.py", "use.py", "misuse.py")]
    out, err, _ = api.run(["--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache"), *files])
    assert not err, err
    told = [line for line in out.splitlines() if " error: " in line]
    assert all("misuse.py" in line for line in told), out
    assert [line.rpartition("[")[2].rstrip("]") for line in told] == list(MISUSE.values()), out


def test_the_enum_is_the_catalogue(tmp_path: Path) -> None:
    """A `StrEnum` of all event types, whose members are event types as they stand, and the category of each."""
    (tmp_path / "events.py").write_text(python.module(load(str(EVENTS))))
    module = imported(tmp_path / "events.py")
    assert issubclass(module.SSEEventType, StrEnum)
    assert [str(member) for member in module.SSEEventType] == list(load(str(EVENTS)).types)
    assert SSEEvent(module.SSEEventType.INVOICE_PAID).event_type == "invoice.paid"
    assert module.CATEGORY[module.SSEEventType.INVOICE_PAID] == "money"
    assert module.SSEEventType.PING not in module.CATEGORY


def test_awkward_names_and_texts_become_python(awkward: Path, tmp_path: Path) -> None:
    """Keywords, names that collide, quotes and comments' ends: it is still a module, with every event type."""
    (tmp_path / "awkward.py").write_text(python.module(load(str(awkward))))
    module = imported(tmp_path / "awkward.py")
    assert [str(member) for member in module.SSEEventType] == list(load(str(awkward)).types)
    assert module.SSEEventType.T1_2 == "1.2"
    assert module.SSEEventType.T1_2_2 == "1_2"
    assert {"AB", "AB_2", "AB_3"} <= vars(module).keys()


async def test_typescript_is_what_tsc_takes(awkward: Path, tmp_path: Path) -> None:
    """As for Python: what is right compiles, and what is wrong does not."""
    need_node()
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "events.ts").write_text(typescript.module(load(str(EVENTS))))
    (tmp_path / "awkward.ts").write_text(typescript.module(load(str(awkward))))
    (tmp_path / "use.ts").write_text(TS_USE)
    options = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--skipDefaultLibCheck")
    await ran(*bin_of("typescript", "tsc"), *options, "use.ts", "awkward.ts", cwd=tmp_path)
