# SPDX-License-Identifier: Apache-2.0
"""Drives an engine block cycle by cycle."""

import json
import os
import random
from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly, Timer

from ...firmware.parameters import EngineParameters
from .streams import start

FLUSH = 40
"""Cycles, more than any block has registers in a row."""


def engine_parameters() -> EngineParameters:
    """Parameters of the engine whose block is tested, from the environment variable ``PARAMETERS`` (JSON)."""
    return EngineParameters.from_dict(json.loads(os.environ["PARAMETERS"]))


def spread(bits: int, generator: random.Random | None = None) -> int:
    """A random symmetric value of ``bits`` magnitude bits: often an extreme or small one."""
    draw = generator or random
    limit = (1 << bits) - 1
    return draw.choice((limit, -limit, 0, draw.randint(-1, 1), *(draw.randint(-limit, limit) >> draw.randrange(bits) for _ in range(5))))


def wrap(value: int, bits: int) -> int:
    """``value`` as a two's-complement word of ``bits`` bits."""
    return (value + (1 << (bits - 1)) & (1 << bits) - 1) - (1 << (bits - 1))


class Cycles:
    """One clock cycle at a time: inputs go in, and the outputs of the same cycle come out.

    Parameters
    ----------
    dut : cocotb handle
    component : wiring.Component
        What ``dut`` was made from; tells the ports.

    Attributes
    ----------
    held : dict of str to int
        Inputs that keep a value; every other one that a step does not name is 0.
    now : int
        Number of the next cycle.
    """

    def __init__(self, dut: Any, component: wiring.Component) -> None:
        self.dut = dut
        self.held: dict[str, int] = {}
        self.now = 0
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, tuple[Any, bool]] = {}
        self._driven: dict[str, int] = {}
        for path, member, _ in component.signature.flatten(component):
            name = "__".join(map(str, path))
            if member.flow == wiring.In:
                self._inputs[name] = getattr(dut, name)
            else:
                self._outputs[name] = (getattr(dut, name), Shape.cast(member.shape).signed)

    async def reset(self) -> None:
        """Reset with all inputs 0, which stay so for `FLUSH` cycles; afterwards the first cycle is under way."""
        for handle in self._inputs.values():
            handle.value = 0
        self.dut.rst.value = 0
        # Icarus must see no undefined input at a clock edge: registers without reset would keep it.
        await Timer(1, "ns")
        self._driven = dict.fromkeys(self._inputs, 0)
        await start(self.dut)
        # What was undefined at time 0 leaves registers without reset through the whole pipeline.
        for _ in range(FLUSH):
            await FallingEdge(self.dut.clk)

    def peek(self, name: str) -> int:
        """An output as it stands before the inputs of the cycle are set: right if it comes from a register."""
        return self._read(name)

    async def step(self, inputs: Mapping[str, int] | None = None) -> dict[str, int]:
        """Let a cycle pass and return its outputs, as seen at its end; one that is undefined is missing."""
        wanted = {**dict.fromkeys(self._inputs, 0), **self.held, **(inputs or {})}
        for name, value in wanted.items():
            if self._driven[name] != value:
                self._inputs[name].value = self._driven[name] = value
        await ReadOnly()
        outputs = {name: self._read(name) for name, (handle, _) in self._outputs.items() if handle.value.is_resolvable}
        await FallingEdge(self.dut.clk)
        self.now += 1
        return outputs

    async def wait(self, cycles: int) -> None:
        """Let cycles pass."""
        for _ in range(cycles):
            await self.step()

    def _read(self, name: str) -> int:
        handle, signed = self._outputs[name]
        return handle.value.to_signed() if signed else int(handle.value)
