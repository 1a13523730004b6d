# SPDX-License-Identifier: Apache-2.0
"""The device: the engine behind one packet stream in and one out."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..firmware.counters import NAMES
from ..firmware.isa import INSTRUCTION_WORDS
from ..firmware.parameters import MACHINE_VERSION, EngineParameters
from ..firmware.protocol import ANSWER, HELLO_WORDS, LABEL_BITS, STEP_BITS, Command, Hello, Register, Skip, Space, Status
from .engine import Engine
from .event_list import INDEX_BITS
from .identity import gateware_identity
from .input_reader import InputReader
from .instruction import INSTRUCTION_BITS
from .lane_array import LaneArray
from .neurons import NeuronUnit
from .packet import PACKET
from .performance import COUNTER_BITS, PerformanceCounters
from .pipeline import REPLICA, plain_register
from .stream_register import HalfRegister, StreamRegister


class Device(wiring.Component):
    """Takes requests and answers each, in order; `frenn.firmware.protocol` says what they mean.

    A request that is wrong in any way is read to its end and answered with a status; it never stops the device. Each sample is learned as
    soon as it is complete, whatever follows it.

    Parameters
    ----------
    parameters : EngineParameters
    line : bool
        Whether there are ports for the counters of a serial line.

    Ports
    -----
    request : In, stream of `packet.PACKET`
    answer : Out, stream of `packet.PACKET`
    framing_error, overrun : In
        Pulses to be counted.

    Throughput: written, a weight a cycle; inputs as `InputReader` says. While the engine works on a sample the next one is
    taken in; any other request waits until it has been answered.
    """

    def __init__(self, parameters: EngineParameters, line: bool = False) -> None:
        self.parameters = parameters
        self.line = line
        ports = {"framing_error": In(1), "overrun": In(1)} if line else {}
        super().__init__({"request": In(stream.Signature(PACKET)), "answer": Out(stream.Signature(PACKET)), **ports})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters = self.parameters
        lanes = parameters.lanes
        m.submodules.engine = engine = Engine(parameters)
        control = engine.control
        if self.line:
            m.d.comb += [control.framing_error.eq(self.framing_error), control.overrun.eq(self.overrun)]
        m.submodules.requests = requests = HalfRegister(PACKET)
        # Answers to requests and results of samples meet behind registers: they are chosen among many words far apart.
        m.submodules.answers = answers = HalfRegister(PACKET)
        m.submodules.results = results = HalfRegister(PACKET)
        m.submodules.leaving = leaving = StreamRegister(PACKET)
        connect(m, flipped(self.request), requests.i)
        connect(m, leaving.o, flipped(self.answer))
        # What is answered before a sample leaves before its result, and what is answered behind it waits for that.
        m.d.comb += [
            leaving.i.valid.eq(answers.o.valid | results.o.valid),
            leaving.i.payload.eq(Mux(answers.o.valid, answers.o.payload, results.o.payload)),
            answers.o.ready.eq(leaving.i.ready),
            results.o.ready.eq(leaving.i.ready & ~answers.o.valid),
        ]
        request = requests.o
        word, last = request.payload.data, request.payload.last

        command, tag, argument = Signal(8, reset_less=True), Signal(8, reset_less=True), Signal(16, reset_less=True)
        # A request has one fault at the most. Each place that finds one tells it in a register of its own: they meet a cycle later.
        found_faults: dict[Status, list[Signal]] = {code: [] for code in Status if code != Status.DONE}
        status = Signal(16, reset_less=True)
        address, count = Signal(32, reset_less=True), Signal(16, reset_less=True)
        step, label = Signal(32, reset_less=True), Signal(INDEX_BITS, reset_less=True)
        part = Signal(range(max(lanes // 2, INSTRUCTION_WORDS, HELLO_WORDS)), reset_less=True)
        wait = Signal(range(max(LaneArray.fetch_latency, PerformanceCounters.latency) + 4), reset_less=True)
        waited = Signal(reset_less=True)
        instruction = Signal(INSTRUCTION_BITS, reset_less=True)
        # A copy of its own, since the engine's is far away.
        low, fetched = Signal(16, reset_less=True), Signal(16, reset_less=True, attrs=REPLICA)
        # The upper half of a word is next; this is the last part of what stands at an address.
        high, whole = Signal(reset_less=True), Signal(reset_less=True)
        found = Signal(COUNTER_BITS, reset_less=True)

        hello_word = Signal(32, reset_less=True)
        seed = Signal(32, reset_less=True)
        entries = {
            command: Signal(range(parameters.program_depth), name=f"{command.name.lower()}_entry", reset_less=True)
            for command in (Command.TRAIN, Command.INFER)
        }
        inputs, classes = Signal(INDEX_BITS, reset_less=True), Signal(INDEX_BITS, reset_less=True)
        wide = Signal(reset_less=True)
        skip = Signal(3, init=Skip.SOURCES | Skip.REST | Skip.RIGHT)
        fastest, slowest = Signal(5, reset_less=True), Signal(5, reset_less=True)
        # No space is as deep as that: an address or count with a bit above is beyond each of them.
        low_bits = 21
        reach = Signal(low_bits + 1, reset_less=True)
        far, past, over = (Signal(reset_less=True, name=name) for name in ("far", "past", "over"))
        wrong_label, wrong_rate, ended = Signal(reset_less=True), Signal(reset_less=True), Signal(reset_less=True)

        # How far an address may go, whether it is beyond, and whether that is told yet.
        depth = Signal(low_bits, reset_less=True)
        beyond = Signal(reset_less=True)
        settled = Signal(reset_less=True)
        # The address goes on in the cycle after it has been used, so that few signals stand before so many bits.
        advance, shifts, full, stores = Signal(), Signal(), Signal(reset_less=True), Signal()
        above, high_address = address[low_bits:].any(), Signal(reset_less=True)
        m.d.sync += [
            high_address.eq(above),
            beyond.eq(above | (address[:low_bits] >= depth)),
            settled.eq(~(advance | shifts | stores)),
            advance.eq(stores),
        ]
        with m.If(advance):
            m.d.sync += [address.eq(address + 1), count.eq(count - 1)]
        # The argument decoded: there are many bits of it, and much hangs on them.
        in_space = {space: Signal(name=f"in_{space.name.lower()}", reset_less=True) for space in Space}
        m.d.sync += [flag.eq(argument == space) for space, flag in in_space.items()]
        writable, readable = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [
            writable.eq(in_space[Space.PROGRAM] | in_space[Space.WEIGHTS] | in_space[Space.REGISTERS]),
            readable.eq(in_space[Space.WEIGHTS] | in_space[Space.STATES] | in_space[Space.DEVIATIONS] | in_space[Space.COUNTERS]),
        ]
        sizes = {
            Space.PROGRAM: parameters.program_depth,
            Space.WEIGHTS: parameters.weight_depth,
            Space.REGISTERS: len(Register),
            Space.STATES: parameters.neuron_depth,
            Space.DEVIATIONS: parameters.neuron_depth,
            Space.COUNTERS: len(NAMES),
        }
        m.d.sync += past.eq(reach > depth)
        m.d.sync += depth.eq(reduce(or_, (Mux(in_space[space], size, 0) for space, size in sizes.items())))

        m.submodules.reader = reader = InputReader(parameters.vector_bits - 1)
        sparse = Signal(reset_less=True)
        m.d.comb += [reader.inputs.eq(inputs), reader.wide.eq(wide), reader.sparse.eq(sparse), reader.i.payload.eq(request.payload)]
        # Whether a sample of the request has been taken before, and none comes after.
        later, final = Signal(reset_less=True), Signal(reset_less=True)

        # Comparisons of what changes in every second cycle at the most, a cycle later.
        full_word, full_instruction, full_hello, final_count = (
            Signal(reset_less=True, name=name) for name in ("full_word", "full_instruction", "full_hello", "final_count")
        )
        m.d.sync += [
            full_word.eq(part == lanes // 2 - 1),
            full_instruction.eq(part == INSTRUCTION_WORDS - 1),
            full_hello.eq(part == HELLO_WORDS - 1),
            final_count.eq(count == 1),
        ]

        kinds = {kind: Signal(name=f"is_{kind.name.lower()}", reset_less=True) for kind in Command}
        known = Signal(reset_less=True)
        m.d.sync += [*(flag.eq(command == kind) for kind, flag in kinds.items()), known.eq(command.matches(*Command))]
        training = kinds[Command.TRAIN]
        # The sample that the engine works on, while the next request is read.
        pending = Signal()
        running = {
            name: Signal.like(value, name=f"running_{name}", reset_less=True)
            for name, value in (
                ("step", step),
                ("label", label),
                ("rate", control.rate),
                ("training", training),
                ("later", later),
                ("final", final),
                ("head", Signal(16)),
            )
        }
        m.d.comb += [
            control.seed.eq(seed),
            control.step.eq(running["step"]),
            control.label.eq(running["label"]),
            control.rate.eq(running["rate"]),
            control.skip_sources.eq((skip & Skip.SOURCES).bool()),
            control.skip_rest.eq((skip & Skip.REST).bool()),
            control.skip_right.eq((skip & Skip.RIGHT).bool()),
            engine.entry.eq(Mux(running["training"], entries[Command.TRAIN], entries[Command.INFER])),
            engine.read_address.eq(address),
            engine.counter_select.eq(address),
        ]
        # Registers between the packets' logic and the engine.
        m.d.sync += [
            fetched.eq(engine.fetched),
            *(
                plain_register(m, port, f"{name}_register").eq(value)
                for name, port, value in (
                    ("program_address", engine.program_address, address),
                    ("program_data", engine.program_data, instruction),
                    ("load_address", engine.load_address, address),
                    ("load_value", engine.load_value, Mux(high, word[16:], word[:16]).as_signed()),
                    ("input_value", engine.input_value, reader.value),
                )
            ),
            *(
                pulse.eq(0)
                for pulse in (
                    engine.load_step,
                    engine.load_write,
                    engine.fetch,
                    engine.input_begin,
                    engine.start,
                )
            ),
        ]

        m.d.sync += engine.input_push.eq(reader.push)

        def refuse(code: Status, when: ValueLike = 1) -> None:
            """Tell a fault; the answer is the next state, or a later one."""
            fault = Signal(name=f"{code.name.lower()}_{len(found_faults[code])}", reset_less=True)
            found_faults[code].append(fault)
            m.d.sync += fault.eq(when)

        def finish(code: Status) -> None:
            """End the request in the cycle in which its word is taken: answer, or read on to its end."""
            m.d.comb += request.ready.eq(1)
            refuse(code)
            with m.If(last):
                m.next = "ANSWER"
            with m.Else():
                m.next = "DISCARD"

        # A register takes its value in the cycle after the word was taken, so that little logic stands before so many bits.
        register_word = Signal(32, reset_less=True)
        written = Signal(1 << (len(Register) - 1).bit_length())
        m.d.sync += [register_word.eq(word), written.eq(0)]
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
            with m.If(written[register]):
                m.d.sync += target.eq(register_word)
        m.d.comb += control.clear_counters.eq(written[Register.CLEAR] & register_word[0])
        chosen_register = Signal.like(written, reset_less=True)
        m.d.sync += chosen_register.eq(1 << address[: len(written).bit_length() - 1])
        # So does an instruction.
        m.d.sync += [shifts.eq(0), stores.eq(shifts & full), engine.program_enable.eq(stores)]
        with m.If(shifts):
            m.d.sync += instruction.eq(Cat(instruction[32:], register_word))

        with m.Switch(part):
            for place, value in enumerate(Hello(MACHINE_VERSION, gateware_identity(), parameters).encode()):
                with m.Case(place):
                    m.d.sync += hello_word.eq(value)

        with m.FSM() as requests_read:
            with m.State("HEAD"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += [command.eq(word[:8]), tag.eq(word[8:16]), argument.eq(word[16:])]
                m.d.sync += [part.eq(0), high.eq(0), ended.eq(last), later.eq(0)]
                with m.If(request.valid):
                    m.next = "DECODE"
            with m.State("DECODE"):
                m.next = "COMMAND"
            with m.State("COMMAND"):
                m.next = "ANSWER"
                with m.If(pending & ~training & ~kinds[Command.INFER]):
                    m.next = "COMMAND"
                with m.Elif(kinds[Command.HELLO]):
                    with m.If(~ended):
                        refuse(Status.WRONG_LENGTH)
                        m.next = "DISCARD"
                with m.Elif(~known):
                    refuse(Status.UNKNOWN_COMMAND)
                    with m.If(~ended):
                        m.next = "DISCARD"
                with m.Elif(ended):
                    refuse(Status.WRONG_LENGTH)
                with m.Elif(training):
                    m.next = "STEP"
                with m.Elif(kinds[Command.INFER]):
                    m.next = "LABEL"
                with m.Else():
                    m.next = "ADDRESS"

            with m.State("ADDRESS"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += [address.eq(word), settled.eq(0)]
                with m.If(request.valid):
                    with m.If(kinds[Command.WRITE]):
                        m.next = "WRITE PROGRAM"
                        for space in (Space.WEIGHTS, Space.REGISTERS):
                            with m.If(in_space[space]):
                                m.next = f"WRITE {space.name}"
                        with m.If(~writable):
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
                    m.d.sync += [shifts.eq(1), full.eq(full_instruction & ~beyond), part.eq(part + 1), settled.eq(0)]
                    with m.If(last):
                        m.next = "ANSWER"
                    with m.If(beyond):
                        finish(Status.BAD_ADDRESS)
                    with m.Elif(full_instruction):
                        m.d.sync += part.eq(0)
                    with m.Elif(last):
                        finish(Status.WRONG_LENGTH)

            with m.State("WRITE WEIGHTS"):
                with m.If(request.valid & settled):
                    with m.If(beyond):
                        finish(Status.BAD_ADDRESS)
                    with m.Else():
                        m.d.sync += [engine.load_step.eq(1), high.eq(~high)]
                        with m.If(high):
                            m.d.comb += request.ready.eq(1)
                            m.d.sync += part.eq(part + 1)
                            with m.If(full_word):
                                m.d.sync += part.eq(0)
                                m.next = "STORE WEIGHTS"
                            with m.If(last):
                                m.next = "ANSWER"
                                with m.If(full_word):
                                    m.next = "STORE LAST WEIGHTS"
                                with m.Else():
                                    finish(Status.WRONG_LENGTH)
            for state, following in (("STORE WEIGHTS", "WRITE WEIGHTS"), ("STORE LAST WEIGHTS", "ANSWER")):
                with m.State(state):
                    m.d.sync += [engine.load_write.eq(1), advance.eq(1), settled.eq(0)]
                    m.next = following

            with m.State("WRITE REGISTERS"):
                m.d.comb += request.ready.eq(settled)
                with m.If(request.valid & settled):
                    m.d.sync += [advance.eq(1), settled.eq(0)]
                    with m.If(last):
                        m.next = "ANSWER"
                    with m.If(beyond):
                        finish(Status.BAD_ADDRESS)
                    with m.Else():
                        m.d.sync += written.eq(chosen_register)

            with m.State("COUNT"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += [count.eq(word), reach.eq(address[:low_bits] + word[:16]), far.eq(high_address | word[16:].any())]
                with m.If(request.valid):
                    m.next = "COMPARE COUNT"
                    with m.If(~last):
                        finish(Status.WRONG_LENGTH)
            with m.State("COMPARE COUNT"):
                m.next = "JUDGE COUNT"
            with m.State("JUDGE COUNT"):
                m.d.sync += over.eq(far | past)
                m.next = "CHECK COUNT"
            with m.State("CHECK COUNT"):
                m.next = "ANSWER"
                with m.If(~readable):
                    refuse(Status.UNKNOWN_SPACE)
                with m.Elif(over):
                    refuse(Status.BAD_ADDRESS)

            with m.State("STEP"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += step.eq(word)
                with m.If(request.valid):
                    m.next = "LABEL"
                    with m.If(last):
                        finish(Status.WRONG_LENGTH)
            with m.State("LABEL"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += [
                    label.eq(word[:LABEL_BITS]),
                    step[:STEP_BITS].eq(word[LABEL_BITS:]),
                    sparse.eq(word[-1]),
                    ended.eq(last),
                    wrong_label.eq(word[:LABEL_BITS] >= classes),
                    wrong_rate.eq(training & ((argument < fastest) | (argument > slowest))),
                ]
                with m.If(request.valid):
                    m.next = "CHECK LABEL"
            with m.State("CHECK LABEL"):
                # Not before the engine has taken the inputs of the sample before.
                m.d.sync += engine.input_begin.eq(1)
                m.d.comb += reader.begin.eq(1)
                m.next = "INPUTS"
                with m.If(wrong_label | wrong_rate | ended):
                    refuse(Status.BAD_LABEL, wrong_label)
                    refuse(Status.BAD_RATE, ~wrong_label & wrong_rate)
                    refuse(Status.WRONG_LENGTH, ~wrong_label & ~wrong_rate)
                    m.next = "DISCARD"
                    with m.If(ended):
                        m.next = "ANSWER"
            with m.State("INPUTS"):
                m.d.comb += [reader.i.valid.eq(request.valid), request.ready.eq(reader.i.ready)]
                m.d.sync += final.eq(reader.ended)
                with m.If(reader.done):
                    m.next = "RUN"
                with m.If(reader.short | reader.beyond):
                    refuse(Status.WRONG_LENGTH, reader.short)
                    refuse(Status.BAD_RUN, reader.beyond)
                    m.next = "DISCARD"
                    with m.If(reader.ended):
                        m.next = "ANSWER"
            with m.State("RUN"):
                with m.If(~pending):
                    m.d.sync += [
                        engine.start.eq(1),
                        pending.eq(1),
                        running["step"].eq(step),
                        running["label"].eq(label),
                        running["rate"].eq(argument),
                        running["training"].eq(training),
                        running["later"].eq(later),
                        running["final"].eq(final),
                        running["head"].eq(Cat(command, tag)),
                        later.eq(1),
                    ]
                    m.next = "LABEL"
                    with m.If(final):
                        m.next = "HEAD"

            with m.State("DISCARD"):
                m.d.comb += request.ready.eq(1)
                with m.If(request.valid & last):
                    m.next = "ANSWER"

            faults: dict[Status, Signal] = {}
            for code, found_by in found_faults.items():
                faults[code] = Signal(name=f"fault_{code.name.lower()}", reset_less=True)
                m.d.sync += faults[code].eq(Cat(*found_by).any())
            # Nothing is answered before the sample that the engine works on.
            answer, answering = Signal(PACKET), Signal()
            may_answer = ~(pending | results.o.valid)
            answer_ready = answers.i.ready & may_answer
            body = Signal()
            with m.State("ANSWER"):
                m.next = "CHOOSE STATUS"
            with m.State("CHOOSE STATUS"):
                m.d.sync += [
                    status.eq(reduce(or_, (Mux(fault, code, 0) for code, fault in faults.items()))),
                    body.eq(~Cat(*faults.values()).any() & (kinds[Command.HELLO] | (kinds[Command.READ] & (count != 0)))),
                ]
                m.next = "ANSWER STATUS"
            with m.State("ANSWER STATUS"):
                m.d.comb += [
                    answering.eq(1),
                    answer.data.eq(Cat(command | ANSWER, tag, status)),
                    answer.last.eq(~body),
                ]
                m.d.sync += [part.eq(0), high.eq(0), wait.eq(0), waited.eq(0)]
                with m.If(answer_ready):
                    m.next = "HEAD"
                    with m.If(body):
                        m.next = "HELLO WORD"
                        with m.If(kinds[Command.READ]):
                            m.next = "WAIT READ"
                            with m.If(in_space[Space.WEIGHTS]):
                                m.next = "FETCH WEIGHTS"

            with m.State("HELLO WORD"):
                m.next = "ANSWER HELLO"
            with m.State("ANSWER HELLO"):
                m.d.comb += [answering.eq(1), answer.last.eq(full_hello), answer.data.eq(hello_word)]
                with m.If(answer_ready):
                    m.d.sync += part.eq(part + 1)
                    m.next = "HELLO WORD"
                    with m.If(full_hello):
                        m.next = "HEAD"

            # Memories and counters take their time to answer the address.
            with m.State("WAIT READ"):
                m.d.sync += [
                    wait.eq(wait + 1),
                    waited.eq(wait == Mux(in_space[Space.COUNTERS], PerformanceCounters.latency, NeuronUnit.read_latency)),
                    whole.eq(~in_space[Space.COUNTERS]),
                ]
                with m.If(waited):
                    # Some counters run on while an answer waits.
                    m.d.sync += found.eq(engine.counter_value)
                    with m.If(in_space[Space.STATES]):
                        m.d.sync += [found[:25].eq(engine.read_state), found[25:].eq(engine.read_slope)]
                    with m.If(in_space[Space.DEVIATIONS]):
                        m.d.sync += found.eq(engine.read_deviation)
                    m.next = "ANSWER READ"
            with m.State("ANSWER READ"):
                m.d.sync += [wait.eq(0), waited.eq(0)]
                m.d.comb += [answering.eq(1), answer.last.eq(final_count & whole)]
                m.d.comb += answer.data.eq(Mux(high, found[32:], found[:32]))
                with m.If(answer_ready):
                    m.d.sync += [high.eq(~high), whole.eq(1)]
                    with m.If(whole):
                        m.d.sync += [high.eq(0), advance.eq(1)]
                        m.next = "WAIT READ"
                        with m.If(final_count):
                            m.next = "HEAD"

            with m.State("FETCH WEIGHTS"):
                m.d.sync += [engine.fetch.eq(wait == 1), wait.eq(wait + 1), waited.eq(wait == LaneArray.fetch_latency + 2)]
                with m.If(waited):
                    m.d.sync += [part.eq(0), high.eq(0)]
                    m.next = "ANSWER WEIGHTS"
            with m.State("STEP WEIGHTS"):
                m.d.sync += [wait.eq(wait + 1), waited.eq(wait == LaneArray.step_latency - 1)]
                with m.If(waited):
                    m.next = "ANSWER WEIGHTS"
            with m.State("ANSWER WEIGHTS"):
                m.d.sync += [wait.eq(0), waited.eq(0)]
                m.d.comb += [
                    answering.eq(high),
                    answer.data.eq(Cat(low, fetched)),
                    answer.last.eq(final_count & (full_word)),
                ]
                with m.If(~high):
                    m.d.sync += [engine.load_step.eq(1), low.eq(fetched), high.eq(1)]
                    m.next = "STEP WEIGHTS"
                with m.Elif(answer_ready):
                    m.d.sync += [engine.load_step.eq(1), high.eq(0), part.eq(part + 1)]
                    m.next = "STEP WEIGHTS"
                    with m.If(full_word):
                        m.d.sync += advance.eq(1)
                        m.next = "FETCH WEIGHTS"
                        with m.If(answer.last):
                            m.next = "HEAD"

        with m.If(requests_read.ongoing("HEAD")):
            m.d.sync += [flag.eq(0) for found_by in found_faults.values() for flag in found_by]
        m.d.comb += [answers.i.valid.eq(answering & may_answer), answers.i.payload.eq(answer)]
        began = Signal(2)
        coming = reduce(or_, map(requests_read.ongoing, ("STEP", "LABEL", "CHECK LABEL", "INPUTS")))
        coming |= requests_read.ongoing("HEAD") & ~request.valid
        with m.FSM(name="sample"):
            with m.State("IDLE"):
                m.d.sync += began.eq(0)
                m.d.comb += control.waiting.eq(~pending & coming)
                with m.If(pending):
                    m.next = "RUNNING"
            with m.State("RUNNING"):
                # The sequencer leaves its idle state in the second cycle here.
                m.d.sync += began.eq(Cat(Const(1, 1), began[0]))
                with m.If(began[1] & ~engine.running):
                    m.d.comb += [
                        control.trained.eq(running["training"]),
                        control.inferred.eq(~running["training"]),
                        control.zero_error.eq(running["training"] & ~engine.wrong),
                    ]
                    m.next = "STATUS"
                    with m.If(running["later"]):
                        m.next = "SAMPLE"
            with m.State("STATUS"):
                m.d.comb += [
                    results.i.valid.eq(1),
                    results.i.payload.data.eq(Cat(running["head"][:8] | ANSWER, running["head"][8:], Const(Status.DONE, 16))),
                    results.i.payload.last.eq(0),
                    control.waiting.eq(~results.i.ready),
                ]
                with m.If(results.i.ready):
                    m.next = "SAMPLE"
            with m.State("SAMPLE"):
                result = Cat(engine.prediction, Const(Status.DONE, 31 - INDEX_BITS), engine.wrong & running["training"])
                m.d.comb += [results.i.valid.eq(1), results.i.payload.data.eq(result), results.i.payload.last.eq(running["final"])]
                m.d.comb += control.waiting.eq(~results.i.ready)
                with m.If(results.i.ready):
                    m.d.sync += pending.eq(0)
                    m.next = "IDLE"
        return m
