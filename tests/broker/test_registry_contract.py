"""Both registries keep the contract."""

from __future__ import annotations

from broker import contract_registry


class TestCount(contract_registry.CountContract): ...


class TestAway(contract_registry.AwayContract): ...


class TestTicket(contract_registry.TicketContract): ...


class TestLife(contract_registry.LifeContract): ...


class TestFleet(contract_registry.FleetContract): ...
