"""Both brokers keep the contract."""

from __future__ import annotations

from broker import contract, contract_history, contract_subscribe


class TestPublish(contract.PublishContract): ...


class TestIdempotency(contract.IdempotencyContract): ...


class TestSubscribe(contract_subscribe.SubscribeContract): ...


class TestWatermark(contract_subscribe.WatermarkContract): ...


class TestLife(contract.LifeContract): ...


class TestRead(contract_history.ReadContract): ...


class TestTouched(contract_history.TouchedContract): ...


class TestRetentionOff(contract_history.RetentionOffContract): ...


class TestKept(contract_history.KeptContract): ...


class TestCursor(contract_history.CursorContract): ...
