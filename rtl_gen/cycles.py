# SPDX-License-Identifier: Apache-2.0
"""Where the cycles of a program go if nothing is skipped: the engine's control, cycle by cycle, without any data."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from ..firmware.compiler import Program
from ..firmware.isa import ARRAY_OPS, NEURON_OPS, OUTPUT_OPS, WALK_OPS, Instruction, Op
from ..firmware.parameters import EngineParameters
from .drives import PASS, SUM_LATENCY, Drives
from .instruction import TAGS
from .interlock import Interlock, Units
from .issuer import ISSUE, LOOK
from .lane_array import LaneArray
from .neurons import DRAIN, ERROR_DRAIN, TOLD
from .output_error import OutputError
from .primitives.block_memory import BlockMemory
from .sequencer import FETCH, Sequencer
from .serial_cycles import AROUND, serial_cycles

NOTHING: Final = Instruction(op=Op.END)

IDLE_KINDS: Final = {
    "sequencing": "the next instruction is on its way, or a block is prepared",
    "walk": "the values that come next are not yet computed",
    "sums": "sums of the instruction before still leave the lanes",
    "error": "the output error is computed",
    "drain": "the last results are on their way",
}
"""Why no command is given to the lanes in a cycle."""


class ModelParameters(EngineParameters):
    """Parameters of an engine that may have more lanes than gateware is made for: for this model alone."""

    def __post_init__(self) -> None:
        pass


@dataclass
class Account:
    """Where the cycles of a program go.

    Parameters
    ----------
    lanes : int
    cycles : int
        In which the program runs.
    issued : Counter of (Op, number of the weight block)
        Cycles in which a product was asked for.
    lane_cycles : Counter of the same
        Products: ``issued`` times the rows that exist.
    idle : Counter of str
        Cycles of each of `IDLE_KINDS`.
    """

    lanes: int
    cycles: int = 0
    issued: Counter[tuple[Op, int]] = field(default_factory=Counter)
    lane_cycles: Counter[tuple[Op, int]] = field(default_factory=Counter)
    idle: Counter[str] = field(default_factory=Counter)

    @property
    def utilisation(self) -> float:
        """Products that lanes compute, of all that they could."""
        return self.lane_cycles.total() / (self.lanes * self.cycles)

    @property
    def narrow(self) -> int:
        """Lane-cycles of lanes that had no row while products were asked for."""
        return self.lanes * self.issued.total() - self.lane_cycles.total()


def dense_cycles(program: Program, *, training: bool = True) -> int:
    """Cycles in which a program runs if no source, row block, sweep or phase is left out: those of `dense_account`.

    On one lane the shifts of softmax terms and the steps of counters are counted as long as they can be.
    """
    if program.parameters.lanes == 1:
        executed = Sequencer.model(program.instructions, 0 if training else program.infer_entry)
        return AROUND + sum(map(serial_cycles, executed))
    return dense_account(program, training=training).cycles


def dense_account(program: Program, *, training: bool = True, halvings: int | None = None) -> Account:
    """The account of a program of which nothing is left out.

    A sample takes no more. It is exact for a sample of which nothing is skipped, with the number of halvings of its softmax' sum.

    Parameters
    ----------
    program : Program
        For an engine of more than one lane.
    training : bool
        Of a training sample, or of a prediction.
    halvings : int or None
        Halvings of the softmax' sum, by default the most that may be needed: the binary logarithm of the number of classes.
    """
    blocks = tuple(block.weights for block in program.blocks)
    return _stepped(program.instructions, 0 if training else program.infer_entry, blocks, program.parameters.lanes, halvings)


@cache
def _stepped(instructions: tuple[Instruction, ...], entry: int, blocks: tuple[int, ...], lanes: int, halvings: int | None) -> Account:
    engine = _Engine(lanes, halvings, blocks)
    engine.run(instructions, entry)
    return engine.account


class _Engine:
    """Registers of the control as they stand in a cycle; `step` leads to the next."""

    def __init__(self, lanes: int, halvings: int | None, blocks: Sequence[int]) -> None:
        self.lanes = lanes
        self.halvings = halvings
        self.transposed_latency = LaneArray.transposed_latency(ModelParameters(lanes=lanes))
        self.now = 0
        self.account = Account(self.lanes)
        # The weight block at an address.
        self.blocks = {address: number for number, address in enumerate(blocks)}
        # What happens in a later cycle.
        self.later: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self.issuer = _Issuer(self)
        self.neurons = _Neurons(self)

    def run(self, instructions: Sequence[Instruction], entry: int) -> None:
        """Step until the program is over."""
        issuer, neurons, account = self.issuer, self.neurons, self.account
        here, body, turns, waited, state = entry, 0, 0, 0, "FETCH"
        instruction = NOTHING
        # What the interlock said, and what was started, in the cycle before.
        allowed = Interlock.model(instruction, self.units())
        array, serial = False, False
        while True:
            for happens in self.later.pop(self.now, ()):
                happens()
            account.cycles += 1
            given, may = instruction, allowed
            start_array, start_neurons, array, serial = array, serial, False, False
            allowed = Interlock.model(instruction, self.units())
            fetches = waited == FETCH - 1
            waited = min(waited + 1, FETCH - 1)
            if state == "FETCH":
                if fetches:
                    instruction, here, waited, state = instructions[here], here + 1, 0, "COMPARE"
            elif state in ("COMPARE", "LOOK"):
                state = "LOOK" if state == "COMPARE" else "EXECUTE"
            elif self._may(instruction, may):
                state = "FETCH"
                array, serial = instruction.op in ARRAY_OPS, instruction.op in NEURON_OPS
                if instruction.op == Op.LOOP:
                    body, turns = here, instruction.count
                elif instruction.op == Op.NEXT:
                    if turns != 1:
                        here, waited = body, 0
                    turns -= 1
                elif instruction.op == Op.END:
                    self._account(given)
                    return
            self._account(given)
            latest = issuer.latest
            issuer.step(given if start_array else None)
            neurons.step(given if start_neurons else None, may, latest)
            self.now += 1
            if state == "EXECUTE" and neurons.idle and issuer.undisturbed() > 0:
                # What the interlock says in the next cycle and in all that follow.
                soon = allowed, Interlock.model(instruction, self.units())
                if not any(self._may(instruction, may) for may in soon):
                    self._pass(issuer.undisturbed())

    def _pass(self, cycles: int) -> None:
        """Go on by cycles in which a product is asked for and nothing else happens: they are most where lanes are few."""
        self._issued(cycles)
        self.issuer.run_on(cycles)
        self.account.cycles += cycles
        # Whoever counts drives that are complete is asked by nobody meanwhile.
        for now in range(self.now, self.now + cycles):
            for happens in self.later.pop(now, ()):
                happens()
        self.now += cycles

    def _issued(self, cycles: int) -> None:
        issuer = self.issuer
        key = issuer.current.op, self.blocks[issuer.current.weights]
        self.account.issued[key] += cycles
        self.account.lane_cycles[key] += cycles * issuer.rows

    @staticmethod
    def _may(instruction: Instruction, may: dict[str, int]) -> bool:
        if instruction.op in ARRAY_OPS:
            return bool(may["array_may"])
        if instruction.op in NEURON_OPS:
            return bool(may["neurons_may"])
        if instruction.op == Op.STOP_IF_RIGHT:
            return bool(may["neurons_idle"])
        return instruction.op != Op.END or bool(may["all_idle"])

    def units(self) -> Units:
        """What the units say in this cycle."""
        issuer, neurons = self.issuer, self.neurons
        return Units(
            issuing=issuer.state != "IDLE",
            latest=issuer.latest,
            complete=tuple(not pending for pending in issuer.pending),
            summing=tuple(pending and not learns for pending, learns in zip(issuer.pending, issuer.learns, strict=True)),
            targets=tuple(issuer.targets),
            learning=any(pending and learns for pending, learns in zip(issuer.pending, issuer.learns, strict=True)),
            array=issuer.current,
            idle=neurons.idle,
            reading=neurons.walking or neurons.erring,
            neurons=neurons.current,
        )

    def _account(self, instruction: Instruction) -> None:
        issuer, account = self.issuer, self.account
        if issuer.issues():
            if issuer.current.columns:
                self._issued(1)
            else:
                account.idle["sequencing"] += 1
        elif issuer.state == "FOLLOW" or (issuer.state == "BLOCK" and issuer.rows_wait()):
            account.idle["error" if self.neurons.erring else "walk"] += 1
        elif issuer.state == "RUN" or (issuer.state == "BLOCK" and issuer.held()):
            account.idle["sums"] += 1
        elif issuer.state != "IDLE" or account.cycles <= FETCH:
            account.idle["sequencing"] += 1
        elif instruction.op == Op.END:
            account.idle["drain"] += 1
        elif self.neurons.erring or instruction.op in (*OUTPUT_OPS, Op.STOP_IF_RIGHT):
            account.idle["error"] += 1
        else:
            account.idle["walk" if not self.neurons.idle else "sequencing"] += 1


class _Issuer:
    """Control of `Issuer`, by its names."""

    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.state = "IDLE"
        self.current = NOTHING
        self.latest = 0
        self.pending, self.learns, self.drain, self.targets = [False] * TAGS, [False] * TAGS, [0] * TAGS, [0] * TAGS
        self.list_follows = self.rows_follow = self.lead = self.spaced = self.first_block = False
        self.forward_held = self.transposed_held = False
        self.spacing = self.apart = self.forward_hold = self.transposed_hold = self.draining = 0
        self.drains, self.chain_bank = False, 0
        self.inner = self.inner_left = self.left = self.block = self.look = self.rows = 0

    @property
    def length(self) -> int:
        """Sources or columns."""
        return self.current.columns

    def rows_wait(self) -> bool:
        """Whether the block's rows are still written."""
        return self.rows_follow and self.block == self.engine.neurons.row_before

    def held(self) -> bool:
        """Whether the sums of the instruction or block before keep a block of a transposed pass from beginning."""
        meets = self.drains and self.chain_bank == self.current.target % 2
        return self.current.op == Op.TRANSPOSED and ((self.first_block and self.transposed_held) or self.apart != 0 or meets)

    def issues(self) -> bool:
        """Whether a command is given in this cycle."""
        if self.state == "FOLLOW":
            return self.lead and self.list_follows
        last = self.inner_left <= 1
        forward = self.current.op == Op.FORWARD
        return self.state == "RUN" and (not last or not forward or (self.spaced and not (self.first_block and self.forward_held)))

    def step(self, start: Instruction | None) -> None:
        """Go on by one cycle."""
        engine, now, op = self.engine, self.current, self.current.op
        neurons = engine.neurons
        issue = self.issues()
        last = self.state == "RUN" and self.inner_left <= 1
        go = issue and last
        final = self.left <= engine.lanes
        state, lead = self.state, False
        following = (self.latest + 1) % TAGS
        for tag in range(TAGS):
            here = tag == self.latest
            if start and tag == following:
                self.pending[tag], self.learns[tag], self.targets[tag] = True, start.op == Op.UPDATE, start.target
            elif self.drain[tag] == 0 and not (self.state != "IDLE" and here):
                self.pending[tag] = False
            if go and here:
                self.drain[tag] = self._drain()
            elif self.drain[tag]:
                self.drain[tag] -= 1
        waits = self.rows_wait() or self.held()
        spaced, forward_held, transposed_held, drains = self._counted(1)
        if self.state == "IDLE":
            self.inner, self.look = 0, LOOK - 2
            if start:
                state, self.first_block = "BEGIN", True
                self.block, self.left = start.row, start.rows
        elif self.state == "BEGIN":
            if op == Op.TRANSPOSED:
                state = "BLOCK"
            elif not self.list_follows:
                state = "LIST"
            elif op == Op.FORWARD:
                state = "FOLLOW"
        elif self.state == "LIST":
            if self.look == 0:
                state = "BLOCK"
            self.look -= 1
        elif self.state == "REST":
            self.inner_left, state = self.length - self.inner, "RUN"
        elif self.state == "BLOCK":
            if not waits:
                state = "CHOOSE"
        elif self.state == "FOLLOW":
            lead = neurons.length(now) > self.inner + 2
            if not self.list_follows:
                state = "REST" if self.inner else "BLOCK"
            self.inner += issue
        elif self.state == "CHOOSE":
            self.inner, self.inner_left, self.apart, state = 0, self.length, PASS - 2, "RUN"
        elif issue:
            self.inner, self.inner_left = self.inner + 1, self.inner_left - 1
        if issue and op == Op.TRANSPOSED:
            self._transposed_sums(1)
        if go:
            if op == Op.FORWARD:
                self._forward_sums()
            state = "IDLE" if final else "BLOCK"
            self.block, self.left, self.inner, self.first_block = self.block + 1, self.left - engine.lanes, 0, False
        self._follow(start)
        self.rows = min(self.left, engine.lanes)
        self.state, self.lead, self.spaced = state, lead, spaced
        self.forward_held, self.transposed_held, self.drains = forward_held, transposed_held, drains
        if start:
            self.current, self.latest = start, following

    def undisturbed(self) -> int:
        """Cycles, of those to come, in which products are asked for and nothing else can change, while the neuron unit is idle."""
        # Two are left, so that the end of the block is not among them.
        return self.inner_left - 2 if self.state == "RUN" and sum(self.pending) == 1 else 0

    def run_on(self, cycles: int) -> None:
        """Ask for so many products, one a cycle."""

        self.spaced, self.forward_held, self.transposed_held, self.drains = self._counted(cycles)
        self.drain = [max(count - cycles, 0) for count in self.drain]
        self.inner, self.inner_left = self.inner + cycles, self.inner_left - cycles
        if self.current.op == Op.TRANSPOSED:
            self._transposed_sums(cycles)
            self.forward_held = self.transposed_held = True

    def _counted(self, cycles: int) -> tuple[bool, bool, bool, bool]:
        """Let the counters go on by cycles; what `spaced`, the two that are held and `drains` become."""
        counts = (self.spacing, self.apart, self.forward_hold, self.transposed_hold, self.draining)
        spacing, _, *others = (max(count - cycles + 1, 0) for count in counts)
        self.spacing, self.apart, self.forward_hold, self.transposed_hold, self.draining = (max(count - cycles, 0) for count in counts)
        self.chain_bank = (self.chain_bank + cycles) % 2
        forward_held, transposed_held, drains = (count > 1 for count in others)
        return spacing <= 1, forward_held, transposed_held, drains

    def _transposed_sums(self, cycles: int) -> None:
        engine = self.engine
        difference = engine.transposed_latency - LaneArray.forward_latency
        self.forward_hold, self.transposed_hold = max(difference + 1 + SUM_LATENCY, 0), 1 + SUM_LATENCY
        if self.left <= engine.lanes:
            first = engine.now + ISSUE + engine.transposed_latency + SUM_LATENCY
            for now in range(first, first + cycles):
                engine.later[now].append(engine.neurons.counts(self.latest))

    def _forward_sums(self) -> None:
        engine = self.engine
        rows = min(self.left, engine.lanes)
        difference = engine.transposed_latency - LaneArray.forward_latency
        self.spacing, self.forward_hold, self.transposed_hold = rows, rows + SUM_LATENCY, max(PASS - 3 - difference, 0)
        self.draining, self.chain_bank = max(rows - difference - 1, 0), (self.current.target + difference + 1) % 2
        for row in range(rows):
            engine.later[engine.now + ISSUE + LaneArray.forward_latency + SUM_LATENCY + row].append(engine.neurons.counts(self.latest))

    def _drain(self) -> int:
        if self.current.op == Op.FORWARD:
            return ISSUE + LaneArray.forward_latency + SUM_LATENCY + min(self.left, self.engine.lanes)
        if self.current.op == Op.TRANSPOSED:
            return ISSUE + self.engine.transposed_latency + SUM_LATENCY
        return ISSUE + LaneArray.update_latency + 1

    def _follow(self, start: Instruction | None) -> None:
        neurons = self.engine.neurons
        if neurons.idle:
            self.list_follows = self.rows_follow = False
        elif start:
            walk = neurons.current
            states = walk.op == Op.ACTIVATE and not walk.full
            written = walk.node == start.node and (states if start.full else walk.op != Op.SNAPSHOT)
            self.list_follows = written and start.op != Op.TRANSPOSED
            self.rows_follow = walk.row == start.row and start.op != Op.FORWARD


class _Neurons:
    """Control of `NeuronUnit`, by its names."""

    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.current = NOTHING
        self.walking = self.erring = self.following = self.ahead = False
        self.awaited: list[int] = []
        self.left = self.walked = self.drain = self.follow_tag = self.row = self.row_before = self.lane = 0
        self.changes = self.nonzero = 0
        self.totals = [0] * TAGS
        self.complete_before = [True] * TAGS

    @property
    def idle(self) -> bool:
        return not (self.walking or self.erring or self.drain)

    def length(self, instruction: Instruction) -> int:
        """Pairs of a list that can be asked for."""
        return self.nonzero if instruction.full else self.changes

    def counts(self, tag: int) -> Callable[[], None]:
        """What counts a drive that is complete."""

        def count() -> None:
            self.totals[tag] += 1

        return count

    def step(self, start: Instruction | None, may: dict[str, int], latest: int) -> None:
        """Go on by one cycle; the issuer has gone before, and said ``latest`` in this cycle, and the interlock ``may``."""
        engine = self.engine
        issuer = engine.issuer
        self.row_before = self.row
        stepping = self.walking and (self.ahead or not self.following)
        ahead = self.totals[self.follow_tag] > self.walked + 1
        if issuer.latest != latest:
            self.totals[issuer.latest] = 0
        if self.drain:
            self.drain -= 1
        if stepping:
            engine.later[engine.now + TOLD + 1].append(self._told)
            self.walked, self.left = self.walked + 1, self.left - 1
            if self.left == 0:
                self.walking, self.drain = False, DRAIN
        self.ahead = ahead
        # The issuer's flag is a register: what it says now it said before.
        self.awaited = [tag for tag in self.awaited if not self.complete_before[tag]]
        self.following = bool(self.awaited)
        self.complete_before = [not pending for pending in issuer.pending]
        if start:
            self._start(start, may)

    def _start(self, start: Instruction, may: dict[str, int]) -> None:
        engine = self.engine
        self.current, self.left, self.walked, self.ahead = start, start.rows, 0, False
        self.awaited, self.follow_tag = [tag for tag in range(TAGS) if may["awaits"] >> tag & 1], may["follow_tag"]
        self.following = bool(self.awaited)
        self.row, self.lane = start.row, 0
        self.walking, self.erring = start.op in WALK_OPS, start.op in OUTPUT_OPS
        if start.op != Op.SNAPSHOT:
            self.changes = 0
        if start.op == Op.ACTIVATE and not start.full:
            self.nonzero = 0
        if self.erring:
            classes = start.rows
            most = classes.bit_length() - 1
            done = engine.now + OutputError.latency(
                classes, 1 + Drives.latency, most if engine.halvings is None else engine.halvings, start.op == Op.PREDICT
            )
            if start.op == Op.ERROR:
                for index in range(classes):
                    engine.later[done - classes + index + 1 + BlockMemory.latency + 3].append(self._told)
            engine.later[done + 1].append(self._erred)

    def _erred(self) -> None:
        self.erring, self.drain = False, ERROR_DRAIN

    def _told(self) -> None:
        """A neuron's result has been written."""
        if self.current.op != Op.SNAPSHOT:
            self.changes += 1
        if self.current.op == Op.ACTIVATE and not self.current.full:
            self.nonzero += 1
        self.lane += 1
        if self.lane == self.engine.lanes:
            self.lane, self.row = 0, self.row + 1
