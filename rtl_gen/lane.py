# SPDX-License-Identifier: Apache-2.0
"""One lane: multiplier, accumulator, row values, update path and a link of the drain chain."""

from typing import Final

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..firmware.arithmetic import IntArray, round_half_up, saturate
from ..firmware.parameters import EngineParameters
from .pipeline import delay, plain_register
from .primitives.gated_adder import GatedAdder
from .primitives.multiplier import Multiplier


class Lane(wiring.Component):
    """Multiply-accumulate, transposed product and weight update of the rows that live in one lane.

    Time 0 is the cycle in which the operands of a multiplication are presented.

    Parameters
    ----------
    parameters : EngineParameters

    Ports
    -----
    transposed, kept, update : In
        At time 0: what the lane multiplies. A transposed product takes the row's change, or (kept) its value. Neither transposed nor
        update: forward.
    nearest : In
        An update rounds to nearest, at time `update_latency`.
    weight : In, signed
        Word of the weight memory: at time 0, or at time `update_latency` for an update.
    value : In, signed(broadcast_bits)
        Source value that all lanes see, at time 0.
    row : In
        Row block, one cycle before time 0.
    enable, start : In
        At time 0: the product counts (forward); it begins a sum.
    capture : In
        At time 0, together with the last product of a sum: the sum goes to the chain.
    noise : In, update_shift
        Random bits of an update, at time `update_latency`.
    product : Out, signed
        Product for the adder tree, at time `product_latency`.
    learned, clipped : Out
        Updated weight, and whether it was clipped, at time `learned_latency`.
    chain_in, chain : In, Out, signed(accumulator_bits)
        The drain chain: after a captured sum appears, at time `chain_latency`, each step moves one lane on.
    chain_step : In
        The chain takes `chain_in`, unless it takes a sum or a weight.
    chain_weight : In
        The chain takes the weight presented in this cycle.
    row_write, row_select, row_values : In
        Write the change of a neuron's value to `row_address`; of this lane's neuron, or zero if not selected;
        and the value itself to the values of the row.
    row_address, row_change, row_value : In
        What to write.

    Throughput one operand a cycle.
    """

    product_latency: Final = Multiplier.latency + 2
    update_latency: Final = product_latency
    learned_latency: Final = update_latency + 3
    chain_latency: Final = product_latency + 2

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        rows = range(parameters.row_depth)
        super().__init__(
            {
                "transposed": In(1),
                "kept": In(1),
                "update": In(1),
                "nearest": In(1),
                "weight": In(signed(parameters.weight.width)),
                "value": In(signed(parameters.broadcast_bits)),
                "row": In(rows),
                "enable": In(1),
                "start": In(1),
                "capture": In(1),
                "noise": In(parameters.update_shift),
                "product": Out(signed(parameters.mac_weight.width + parameters.vector_bits + 1)),
                "learned": Out(signed(parameters.weight.width)),
                "clipped": Out(1),
                "chain_in": In(signed(parameters.accumulator_bits)),
                "chain": Out(signed(parameters.accumulator_bits)),
                "chain_step": In(1),
                "chain_weight": In(1),
                "row_write": In(1),
                "row_select": In(1),
                "row_values": In(1),
                "row_address": In(rows),
                "row_change": In(signed(parameters.vector_bits + 1)),
                "row_value": In(signed(parameters.vector_bits)),
            }
        )

    def model_update(self, weight: IntArray, deviation: IntArray, value: IntArray, noise: IntArray) -> tuple[IntArray, np.ndarray]:
        """Updated weights and whether they were clipped, of equally shaped operands; ``value`` is shifted already."""
        exact = weight + ((deviation * value + noise) >> self.parameters.update_shift)
        learned = saturate(exact, self.parameters.weight.magnitude_bits)
        return learned, learned != exact

    def model_multiplied(self, weights: IntArray) -> IntArray:
        """Weights, same shape, as they are multiplied in a forward or transposed pass: in ``mac_weight``."""
        weight, narrow = self.parameters.weight, self.parameters.mac_weight
        return saturate(round_half_up(weights, weight.fraction - narrow.fraction), narrow.magnitude_bits)

    def model_sum(self, weights: IntArray, values: IntArray) -> IntArray:
        """Sum of the products of a forward pass."""
        return np.sum(self.model_multiplied(weights) * values)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters = self.parameters

        stored = {}
        for name, shape, data, enable in (
            ("change", signed(parameters.vector_bits + 1), self.row_change, self.row_write),
            ("value", signed(parameters.vector_bits), self.row_value, self.row_write & self.row_values),
        ):
            memory = Memory(shape=shape, depth=parameters.row_depth, init=[])
            m.submodules[f"row_{name}s"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            register = Signal(shape, reset_less=True, name=f"row_{name}_read")
            m.d.comb += [
                write.en.eq(enable),
                write.addr.eq(self.row_address),
                write.data.eq(Mux(self.row_select, data, 0)),
                read.addr.eq(self.row),
            ]
            m.d.sync += register.eq(read.data)
            stored[name] = register

        multiplied = self.weight
        drop = parameters.weight.fraction - parameters.mac_weight.fraction
        if parameters.mac_weight != parameters.weight:
            rounded = Signal(signed(parameters.weight.width + 1))
            limit = parameters.mac_weight.maximum
            m.d.comb += rounded.eq((self.weight + ((1 << drop) >> 1)) >> drop)
            multiplied = Mux(rounded > limit, limit, Mux(rounded < -limit, -limit, rounded))
        left = Signal(signed(max(parameters.mac_weight.width, parameters.vector_bits)), reset_less=True)
        right = Signal(signed(parameters.broadcast_bits), reset_less=True)
        m.submodules.multiplier = multiplier = Multiplier(len(left), len(right))
        settled = Signal.like(multiplier.product, reset_less=True)
        m.d.comb += [multiplier.left.eq(left), multiplier.right.eq(right)]
        m.d.sync += [
            left.eq(Mux(self.update, stored["value"], multiplied)),
            right.eq(Mux(self.transposed, Mux(self.kept, stored["value"], stored["change"]), self.value)),
            settled.eq(multiplier.product),
        ]
        m.d.comb += self.product.eq(settled)

        total = Signal(signed(parameters.accumulator_bits), reset_less=True)
        enable, start, capture = (
            delay(m, flag, self.product_latency, name, replica=True)
            for flag, name in ((self.enable, "enable"), (self.start, "start"), (self.capture, "capture"))
        )
        m.submodules.sum = sum_ = GatedAdder(parameters.accumulator_bits)
        m.d.comb += [sum_.value.eq(total), sum_.addend.eq(settled), sum_.omit.eq(start)]
        with m.If(enable):
            m.d.sync += total.eq(sum_.total)
        # One cycle later the sum has its last product, and the next sum may begin in the same cycle.
        captured = delay(m, capture, 1, "captured", replica=True)
        chain = plain_register(m, self.chain, "chain_register")
        with m.If(captured):
            m.d.sync += chain.eq(total)
        with m.Elif(self.chain_weight):
            m.d.sync += chain.eq(self.weight)
        with m.Elif(self.chain_step):
            m.d.sync += chain.eq(self.chain_in)

        shift = parameters.update_shift
        limit = parameters.weight.maximum
        half = Const(1 << (shift - 1), shift)
        noise = Mux(self.nearest, half, self.noise)
        exact = Signal(signed(max(len(settled), shift + parameters.weight.width) + 1 - shift), reset_less=True)
        kept = Signal(signed(parameters.weight.width), reset_less=True)
        over, under = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [
            exact.eq((Cat(noise, self.weight).as_signed() + settled) >> shift),
            kept.eq(exact),
            over.eq(exact > limit),
            under.eq(exact < -limit),
            plain_register(m, self.learned, "learned_register").eq(Mux(over, limit, Mux(under, -limit, kept))),
            plain_register(m, self.clipped, "clipped_register").eq(over | under),
        ]
        return m
