# SPDX-License-Identifier: Apache-2.0
"""The device of one lane: a `SerialEngine` behind one packet stream in and one out."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.counters import NAMES
from ..firmware.isa import INSTRUCTION_WORDS
from ..firmware.parameters import MACHINE_VERSION, EngineParameters
from ..firmware.protocol import ANSWER, HELLO_WORDS, LABEL_BITS, STEP_BITS, Command, Hello, Register, Skip, Space, Status
from .event_list import INDEX_BITS
from .identity import gateware_identity
from .input_reader import InputReader
from .packet import PACKET
from .serial_counters import LIMBS
from .serial_engine import SerialEngine


class SerialDevice(wiring.Component):
    """Takes requests and answers each, in order, as `Device` does; `frenn.firmware.protocol` says what they mean.

    Parameters
    ----------
    parameters : EngineParameters
        Of one lane.
    line : bool
        Whether there are ports for the counters of a serial line.

    Ports
    -----
    request : In, stream of `packet.PACKET`
    answer : Out, stream of `packet.PACKET`
    framing_error, overrun : In
        Pulses to be counted, 64 cycles apart at least.

    Throughput: a weight written in two cycles, inputs as `InputReader` says. A sample is taken when the one before has been
    answered.
    """

    def __init__(self, parameters: EngineParameters, line: bool = False) -> None:
        self.parameters = parameters
        self.line = line
        ports = {"framing_error": In(1), "overrun": In(1)} if line else {}
        super().__init__({"request": In(stream.Signature(PACKET)), "answer": Out(stream.Signature(PACKET)), **ports})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters = self.parameters
        m.submodules.engine = engine = SerialEngine(parameters)
        if self.line:
            m.d.comb += [engine.framing_error.eq(self.framing_error), engine.overrun.eq(self.overrun)]
        request, answer = self.request, self.answer
        word, last = request.payload.data, request.payload.last

        command, tag, argument = Signal(8), Signal(8), Signal(16)
        # A request has one fault at the most.
        faults: dict[Status, Signal] = {code: Signal(name=f"fault_{code.name.lower()}") for code in Status if code != Status.DONE}
        status = Signal(3, reset_less=True)
        body = Signal()
        sizes = {
            Space.PROGRAM: parameters.program_depth,
            Space.WEIGHTS: parameters.weight_depth,
            Space.REGISTERS: len(Register),
            Space.STATES: parameters.neuron_depth,
            Space.DEVIATIONS: parameters.neuron_depth,
            Space.COUNTERS: len(NAMES),
        }
        # The highest bit stands for what lies beyond any memory.
        bits = max(sizes.values()).bit_length()
        address, count = Signal(bits + 1), Signal(bits + 1)
        part = Signal(range(max(INSTRUCTION_WORDS, HELLO_WORDS, 4)))
        limb = Signal(range(LIMBS + 1))
        counter = Signal(16 * LIMBS, reset_less=True)
        high, ended = Signal(), Signal(reset_less=True)
        hello_word = Signal(32, reset_less=True)

        entries = {kind: Signal.like(engine.entry, name=f"{kind.name.lower()}_entry") for kind in (Command.TRAIN, Command.INFER)}
        classes, wide = Signal(INDEX_BITS), Signal()
        skip = Signal(3, init=Skip.SOURCES | Skip.REST | Skip.RIGHT)
        fastest, slowest = Signal(5), Signal(5)
        seed, inputs = Signal.like(engine.seed), Signal.like(engine.inputs)
        step, label = Signal.like(engine.step), Signal.like(engine.label)
        m.submodules.reader = reader = InputReader(parameters.vector_bits - 1)
        sparse = Signal()
        # Whether a sample of the request has been taken before, and none comes after.
        later, final = Signal(), Signal()

        depth = Signal(bits, reset_less=True)
        beyond, settled = Signal(reset_less=True), Signal()
        m.d.sync += [beyond.eq(address >= depth), settled.eq(1)]
        in_space = {space: Signal(name=f"in_{space.name.lower()}") for space in Space}
        m.d.comb += [flag.eq(argument == space) for space, flag in in_space.items()]
        with m.Switch(argument):
            for space, size in sizes.items():
                with m.Case(space):
                    m.d.sync += depth.eq(size)
        kinds = {kind: Signal(name=f"is_{kind.name.lower()}") for kind in Command}
        m.d.comb += [flag.eq(command == kind) for kind, flag in kinds.items()]
        training = kinds[Command.TRAIN]
        final_count = count == 1

        program_address = Signal.like(engine.program_address)
        m.d.comb += [
            engine.training.eq(training),
            engine.entry.eq(Mux(training, entries[Command.TRAIN], entries[Command.INFER])),
            engine.label.eq(label),
            engine.rate.eq(argument),
            engine.step.eq(step),
            engine.seed.eq(seed),
            engine.inputs.eq(inputs),
            engine.skip_sources.eq((skip & Skip.SOURCES).bool()),
            engine.skip_rest.eq((skip & Skip.REST).bool()),
            engine.skip_right.eq((skip & Skip.RIGHT).bool()),
            engine.program_address.eq(program_address),
            engine.program_word.eq(word),
            reader.inputs.eq(inputs),
            reader.wide.eq(wide),
            reader.sparse.eq(sparse),
            reader.i.payload.eq(request.payload),
            engine.input_begin.eq(reader.begin),
            engine.input_push.eq(reader.push),
            engine.input_value.eq(reader.value),
            engine.weight_address.eq(address),
            engine.weight_data.eq(word[:16].as_signed()),
            engine.read_address.eq(address),
            engine.counter_address.eq(Cat(limb, address)),
        ]

        def finish(code: Status) -> None:
            """End the request in the cycle in which its word is taken: answer, or read on to its end."""
            m.d.comb += request.ready.eq(1)
            m.d.sync += faults[code].eq(1)
            with m.If(last):
                m.next = "ANSWER"
            with m.Else():
                m.next = "DISCARD"

        with m.Switch(part):
            for place, value in enumerate(Hello(MACHINE_VERSION, gateware_identity(), parameters).encode()):
                with m.Case(place):
                    m.d.sync += hello_word.eq(value)

        with m.FSM():
            with m.State("HEAD"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += [command.eq(word[:8]), tag.eq(word[8:16]), argument.eq(word[16:])]
                m.d.sync += [part.eq(0), high.eq(0), *(fault.eq(0) for fault in faults.values())]
                m.d.sync += [ended.eq(last), later.eq(0)]
                with m.If(request.valid):
                    m.next = "COMMAND"
            with m.State("COMMAND"):
                m.next = "ANSWER"
                with m.If(kinds[Command.HELLO]):
                    with m.If(~ended):
                        m.d.sync += faults[Status.WRONG_LENGTH].eq(1)
                        m.next = "DISCARD"
                with m.Elif(~command.matches(*Command)):
                    m.d.sync += faults[Status.UNKNOWN_COMMAND].eq(1)
                    with m.If(~ended):
                        m.next = "DISCARD"
                with m.Elif(ended):
                    m.d.sync += faults[Status.WRONG_LENGTH].eq(1)
                with m.Elif(training):
                    m.next = "STEP"
                with m.Elif(kinds[Command.INFER]):
                    m.next = "LABEL"
                with m.Else():
                    m.next = "ADDRESS"

            with m.State("ADDRESS"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += [address.eq(Cat(word[:bits], word[bits:].any())), settled.eq(0)]
                m.d.sync += program_address.eq(INSTRUCTION_WORDS * word[: len(engine.entry)])
                with m.If(request.valid):
                    with m.If(kinds[Command.WRITE]):
                        m.next = "WRITE PROGRAM"
                        for space in (Space.WEIGHTS, Space.REGISTERS):
                            with m.If(in_space[space]):
                                m.next = f"WRITE {space.name}"
                        with m.If(~(in_space[Space.PROGRAM] | in_space[Space.WEIGHTS] | in_space[Space.REGISTERS])):
                            finish(Status.UNKNOWN_SPACE)
                        with m.If(last):
                            m.next = "ANSWER"
                    with m.Else():
                        m.next = "COUNT"
                        with m.If(last):
                            finish(Status.WRONG_LENGTH)

            with m.State("WRITE PROGRAM"):
                m.d.comb += request.ready.eq(settled)
                with m.If(request.valid & settled):
                    m.d.sync += [part.eq(part + 1), program_address.eq(program_address + 1), settled.eq(0)]
                    with m.If(last):
                        m.next = "ANSWER"
                    with m.If(beyond):
                        finish(Status.BAD_ADDRESS)
                    with m.Else():
                        m.d.comb += engine.program_write.eq(1)
                        with m.If(part == INSTRUCTION_WORDS - 1):
                            m.d.sync += [part.eq(0), address.eq(address + 1)]
                        with m.Elif(last):
                            finish(Status.WRONG_LENGTH)
            with m.State("WRITE WEIGHTS"):
                m.d.comb += request.ready.eq(settled)
                with m.If(request.valid & settled):
                    m.d.sync += [address.eq(address + 1), settled.eq(0)]
                    with m.If(last):
                        m.next = "ANSWER"
                    with m.If(beyond):
                        finish(Status.BAD_ADDRESS)
                    with m.Else():
                        m.d.comb += engine.weight_write.eq(1)
            with m.State("WRITE REGISTERS"):
                m.d.comb += request.ready.eq(settled)
                with m.If(request.valid & settled):
                    m.d.sync += [address.eq(address + 1), settled.eq(0)]
                    with m.If(last):
                        m.next = "ANSWER"
                    with m.If(beyond):
                        finish(Status.BAD_ADDRESS)
                    with m.Else(), m.Switch(address):
                        for register, target in (
                            (Register.SEED, seed),
                            (Register.TRAIN_ENTRY, entries[Command.TRAIN]),
                            (Register.INFER_ENTRY, entries[Command.INFER]),
                            (Register.INPUTS, inputs),
                            (Register.CLASSES, classes),
                            (Register.WIDE_INPUTS, wide),
                            (Register.SKIP, skip),
                            (Register.FASTEST, fastest),
                            (Register.SLOWEST, slowest),
                        ):
                            with m.Case(register):
                                m.d.sync += target.eq(word)
                        with m.Case(Register.CLEAR):
                            m.d.comb += engine.clear_counters.eq(word[0])

            with m.State("COUNT"):
                m.d.comb += request.ready.eq(1)
                # Whatever lies beyond any memory stays so when both are added.
                m.d.sync += count.eq(Cat(word[:bits], word[bits:].any()))
                with m.If(request.valid):
                    m.next = "CHECK COUNT"
                    with m.If(~last):
                        finish(Status.WRONG_LENGTH)
            with m.State("CHECK COUNT"):
                m.d.comb += engine.flush_counters.eq(1)
                m.next = "ANSWER"
                with m.If(~(in_space[Space.WEIGHTS] | in_space[Space.STATES] | in_space[Space.DEVIATIONS] | in_space[Space.COUNTERS])):
                    m.d.sync += faults[Status.UNKNOWN_SPACE].eq(1)
                with m.Elif((address + count) > depth):
                    m.d.sync += faults[Status.BAD_ADDRESS].eq(1)

            with m.State("STEP"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += step.eq(word)
                with m.If(request.valid):
                    m.next = "LABEL"
                    with m.If(last):
                        finish(Status.WRONG_LENGTH)
            with m.State("LABEL"):
                m.d.comb += [request.ready.eq(1), reader.begin.eq(1)]
                m.d.sync += [label.eq(word[:LABEL_BITS]), step[:STEP_BITS].eq(word[LABEL_BITS:]), sparse.eq(word[-1])]
                m.d.sync += [ended.eq(last), high.eq(word[:LABEL_BITS] >= classes)]
                with m.If(request.valid):
                    m.next = "CHECK LABEL"
            with m.State("CHECK LABEL"):
                wrong_rate = training & ((argument < fastest) | (argument > slowest))
                m.next = "INPUTS"
                with m.If(high | wrong_rate | ended):
                    m.d.sync += [
                        faults[Status.BAD_LABEL].eq(high),
                        faults[Status.BAD_RATE].eq(~high & wrong_rate),
                        faults[Status.WRONG_LENGTH].eq(~high & ~wrong_rate),
                    ]
                    m.next = "DISCARD"
                    with m.If(ended):
                        m.next = "ANSWER"
            with m.State("INPUTS"):
                m.d.comb += [reader.i.valid.eq(request.valid), request.ready.eq(reader.i.ready)]
                m.d.sync += final.eq(reader.ended)
                with m.If(reader.done):
                    m.next = "RUN"
                with m.If(reader.short | reader.beyond):
                    m.d.sync += [faults[Status.WRONG_LENGTH].eq(reader.short), faults[Status.BAD_RUN].eq(reader.beyond)]
                    m.next = "DISCARD"
                    with m.If(reader.ended):
                        m.next = "ANSWER"
            with m.State("RUN"):
                m.d.comb += engine.start.eq(1)
                m.next = "RUNNING"
            with m.State("RUNNING"):
                with m.If(~engine.running):
                    m.next = "ANSWER"
                    with m.If(later):
                        m.next = "ANSWER SAMPLE"

            with m.State("DISCARD"):
                m.d.comb += request.ready.eq(1)
                with m.If(request.valid & last):
                    m.next = "ANSWER"

            with m.State("ANSWER"):
                m.d.sync += [
                    status.eq(reduce(or_, (Mux(fault, code, 0) for code, fault in faults.items()))),
                    body.eq(
                        ~Cat(*faults.values()).any()
                        & (kinds[Command.HELLO] | training | kinds[Command.INFER] | (kinds[Command.READ] & (count != 0)))
                    ),
                ]
                m.next = "ANSWER STATUS"
            with m.State("ANSWER STATUS"):
                m.d.comb += [
                    answer.valid.eq(1),
                    answer.payload.data.eq(Cat(command | ANSWER, tag, status)),
                    answer.payload.last.eq(~body),
                ]
                m.d.sync += [part.eq(0), high.eq(0), limb.eq(0)]
                with m.If(answer.ready):
                    m.next = "HEAD"
                    with m.If(body):
                        with m.Switch(command):
                            with m.Case(Command.HELLO):
                                m.next = "HELLO WORD"
                            with m.Case(Command.READ):
                                m.next = "READ"
                            with m.Default():
                                m.next = "ANSWER SAMPLE"

            with m.State("HELLO WORD"):
                m.next = "ANSWER HELLO"
            with m.State("ANSWER HELLO"):
                full = part == HELLO_WORDS - 1
                m.d.comb += [answer.valid.eq(1), answer.payload.last.eq(full), answer.payload.data.eq(hello_word)]
                with m.If(answer.ready):
                    m.d.sync += part.eq(part + 1)
                    m.next = "HELLO WORD"
                    with m.If(full):
                        m.next = "HEAD"

            with m.State("ANSWER SAMPLE"):
                m.d.comb += [
                    answer.valid.eq(1),
                    answer.payload.last.eq(final),
                    answer.payload.data[:INDEX_BITS].eq(engine.prediction),
                    answer.payload.data[-1].eq(engine.wrong & training),
                ]
                with m.If(answer.ready):
                    m.d.sync += later.eq(1)
                    m.next = "LABEL"
                    with m.If(final):
                        m.next = "HEAD"

            with m.State("READ"):
                m.d.comb += engine.hold_counters.eq(~engine.busy_counters)
                m.next = "ANSWER READ"
                with m.If(in_space[Space.COUNTERS]):
                    m.next = "READ"
                    with m.If(~engine.busy_counters):
                        m.d.sync += limb.eq(1)
                        m.next = "GATHER"
            with m.State("GATHER"):
                m.d.comb += engine.hold_counters.eq(1)
                m.d.sync += [counter.eq(Cat(counter[16:], engine.counter_word)), limb.eq(limb + 1)]
                with m.If(limb == LIMBS):
                    m.d.sync += limb.eq(0)
                    m.next = "ANSWER READ"
            with m.State("ANSWER READ"):
                pair = in_space[Space.COUNTERS]
                data = answer.payload.data
                m.d.comb += [answer.valid.eq(1), answer.payload.last.eq(final_count & (high | ~pair))]
                with m.If(in_space[Space.STATES]):
                    m.d.comb += [data[:25].eq(engine.read_state), data[25:].eq(engine.read_slope)]
                with m.Elif(in_space[Space.DEVIATIONS]):
                    m.d.comb += data.eq(engine.read_deviation)
                with m.Elif(in_space[Space.WEIGHTS]):
                    m.d.comb += data[:16].eq(engine.weight)
                with m.Else():
                    m.d.comb += data.eq(Mux(high, counter[32:], counter[:32]))
                with m.If(answer.ready):
                    m.d.sync += high.eq(~high)
                    with m.If(high | ~pair):
                        m.d.sync += [high.eq(0), address.eq(address + 1), count.eq(count - 1)]
                        m.next = "READ"
                        with m.If(final_count):
                            m.next = "HEAD"
        return m
