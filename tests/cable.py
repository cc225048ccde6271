"""A network cable that can be pulled: a network namespace of this host, joined to it by a pair of veth devices.

What runs inside is reached at `address`. With its end down every packet is swallowed without a word, as by a dead
switch; addresses of the other end are permanent, so that no "host unreachable" gives it away. Needs root and `ip`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from typing import Self


class Cable:
    """`with Cable() as cable:` — start servers with `cable.inside` before their command."""

    def __init__(self) -> None:
        number = random.randrange(1, 16_384)
        self._name = f"cable{number}"
        self._here, self._there = f"cab{number}a", f"cab{number}b"
        self._gateway, self.address = (f"10.{192 + number // 256}.{number % 256}.{last}" for last in (1, 2))
        self.inside = ("ip", "netns", "exec", self._name)

    @staticmethod
    def can_be_laid() -> bool:
        """Whether this user may make network namespaces here; tries it."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            return False
        try:
            with Cable():
                return True
        except subprocess.CalledProcessError:
            return False

    def pull(self) -> None:
        self._ip(f"-n {self._name} link set {self._there} down")

    def plug_in(self) -> None:
        self._ip(f"-n {self._name} link set {self._there} up")
        self._know_each_other()

    def __enter__(self) -> Self:
        try:
            self._ip(f"netns add {self._name}")
            self._ip(f"link add {self._here} type veth peer name {self._there} netns {self._name}")
            self._ip(f"addr add {self._gateway}/30 dev {self._here}")
            self._ip(f"link set {self._here} up")
            self._ip(f"-n {self._name} addr add {self.address}/30 dev {self._there}")
            self._ip(f"-n {self._name} link set lo up")
            self.plug_in()
        except subprocess.CalledProcessError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for words in (f"link del {self._here}", f"netns del {self._name}"):
            subprocess.run(["ip", *words.split()], stderr=subprocess.DEVNULL, check=False)

    def _know_each_other(self) -> None:
        here, there = self._hardware_address(self._here), self._hardware_address(self._there, "-n", self._name)
        self._ip(f"neigh replace {self.address} lladdr {there} nud permanent dev {self._here}")
        self._ip(f"-n {self._name} neigh replace {self._gateway} lladdr {here} nud permanent dev {self._there}")

    def _hardware_address(self, device: str, *options: str) -> str:
        words = self._ip(" ".join([*options, "-o", "link", "show", device])).split()
        return words[words.index("link/ether") + 1]

    @staticmethod
    def _ip(words: str) -> str:
        done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=True)
        return done.stdout
