# SPDX-License-Identifier: Apache-2.0
"""The compiler: a network becomes a program and a memory map for given engine parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arithmetic import ACTIVATIONS, LOGIT_FRACTION, RECIPROCAL_FRACTION, SLOPE_FRACTION, TERM_FRACTION, IntArray
from .errors import FitError
from .formats import Format
from .graph import Term, by_source, clamped_terms, drive_fraction, free_terms, nudged_terms, update_fractions
from .isa import FIELDS, Instruction, Op
from .network import Formats, Network
from .parameters import RANGES, EngineParameters


@dataclass(frozen=True)
class LayerMap:
    """Where a layer lives: address of its first neuron and of its first row block (the input has no rows)."""

    neuron: int
    row: int
    width: int


@dataclass(frozen=True)
class BlockMap:
    """Where a weight block lives.

    Parameters
    ----------
    weights : int
        First address.
    rows, columns : int
        As it is stored.
    column : int
        Number of its first column.
    by_source : bool
        Whether a row is a neuron of the source, see `graph.by_source`; the network's weights have a row for each of the target.
    """

    weights: int
    rows: int
    columns: int
    column: int
    by_source: bool

    def turn(self, values: np.ndarray) -> np.ndarray:
        """Weights, (target width, source width), as they are stored, (rows, columns); or back."""
        return values.T if self.by_source else values


@dataclass(frozen=True)
class Program:
    """A compiled network.

    Parameters
    ----------
    network, parameters
        What it was compiled from and for.
    layers, blocks
        The memory map.
    instructions
        Training program, then inference program.
    infer_entry : int
        Address of the inference program; training starts at 0.
    """

    network: Network
    parameters: EngineParameters
    layers: tuple[LayerMap, ...]
    blocks: tuple[BlockMap, ...]
    instructions: tuple[Instruction, ...]
    infer_entry: int

    @property
    def weight_words(self) -> int:
        """Addresses of the weight memory in use."""
        return sum(_blocks(block.rows, self.parameters.lanes) * block.columns for block in self.blocks)

    def pack(self, weights: list[IntArray]) -> np.ndarray:
        """Lay weight blocks out in the lanes.

        Parameters
        ----------
        weights : list of (target width, source width) int64
            One array per edge.

        Returns
        -------
        (weight_words, lanes) int16
            Neuron r lives in lane ``r % lanes``; rows that do not exist are zero.

        Raises
        ------
        FitError
            If a shape or a value does not fit: nothing is clipped.
        """
        lanes = self.parameters.lanes
        limit = self.parameters.weight.maximum
        image = np.zeros((self.weight_words, lanes), dtype=np.int16)
        for block, values, name in zip(self.blocks, weights, self.network.weight_names, strict=True):
            stored = block.turn(values)
            if stored.shape != (block.rows, block.columns):
                legal = (block.columns, block.rows) if block.by_source else (block.rows, block.columns)
                raise FitError(f"weights of {name} have shape {values.shape}, not {legal}")
            if np.abs(values).max(initial=0) > limit:
                raise FitError(f"weights of {name} do not fit {self.parameters.weight}: {np.abs(values).max()} > {limit}")
            count = _blocks(block.rows, lanes)
            padded = np.zeros((count * lanes, block.columns), dtype=np.int16)
            padded[: block.rows] = stored
            words = padded.reshape(count, lanes, block.columns).transpose(0, 2, 1).reshape(-1, lanes)
            image[block.weights : block.weights + len(words)] = words
        return image

    def unpack(self, image: np.ndarray) -> list[IntArray]:
        """Weight blocks, an int64 array per edge, of a (weight_words, lanes) array: the inverse of `pack`."""
        lanes = self.parameters.lanes
        blocks = []
        for block in self.blocks:
            count = _blocks(block.rows, lanes)
            words = image[block.weights : block.weights + count * block.columns].reshape(count, block.columns, lanes)
            stored = words.transpose(0, 2, 1).reshape(count * lanes, block.columns)[: block.rows]
            blocks.append(block.turn(stored).astype(np.int64))
        return blocks


def compile_network(network: Network, parameters: EngineParameters) -> Program:
    """Compile a network for an engine.

    One that `check_trains` refuses is compiled to predict: its training program changes no weight.

    Raises
    ------
    FitError
        If it does not fit; the message names every parameter that is too small, what is needed and what there is.
    """
    misfits = []
    for name, asked in _built_in(network.formats).items():
        built = getattr(parameters, name)
        if asked != built:
            misfits.append(f"formats.{name} is {asked}, the engine is built for {built}")
    if parameters.lanes == 1 and network.relaxation.literal:
        misfits.append('relaxation.clamped is "literal", which an engine of one lane does not compute')
    needed = _needs(network, parameters.lanes)
    for name, need in needed.items():
        have = getattr(parameters, name)
        if need > have:
            misfits.append(f"{name} must be {need}, the engine has {have} ({need - have} too few)")
    if not misfits:
        need = _broadcast_bits(network, parameters.update_shift)
        if need > parameters.broadcast_bits:
            misfits.append(f"broadcast_bits must be {need}, the engine has {parameters.broadcast_bits}")
    if misfits:
        raise FitError(f"network {network.name!r} does not fit the engine: {'; '.join(misfits)}")
    return _Compiler(network, parameters).compile()


def compile_unchecked(network: Network, parameters: EngineParameters) -> Program:
    """Compile a network for an engine whether or not it fits: for models of engines that nobody builds."""
    return _Compiler(network, parameters).compile()


def check_trains(network: Network) -> None:
    """Refuse a network that engines can run but not train.

    Raises
    ------
    FitError
        Naming the cause and what to do.
    """
    if network.learning.summed:
        raise FitError(
            f"network {network.name!r} learns by sums over batches of {network.learning.batch} samples, and an engine updates after each "
            'sample; train it with --on golden alone, or with batch = 1 or update = "host" under [learning]'
        )


def requirements(network: Network, lanes: int) -> dict[str, Any]:
    """Parameters of the smallest engine, with power-of-two depths, that runs a network on so many lanes."""
    return _rounded(joint_requirements([network], lanes), ("weight_depth", "neuron_depth", "row_depth", "program_depth"))


def joint_requirements(networks: Sequence[Network], lanes: int) -> dict[str, Any]:
    """Parameters of the smallest engine that runs every one of some networks on so many lanes; its depths are what they need.

    Raises
    ------
    FitError
        If no engine of so many lanes runs one of them, or their formats need different datapaths.
    """
    built_in = joint_formats(networks)
    needs = [_needs(network, lanes) for network in networks]
    floors = {"vector_bits": 4, "accumulator_bits": 16, "drive_bits": 16, "update_shift": 4}
    needed = {name: max(floors.get(name, 0), *(need[name] for need in needs)) for name in needs[0]}
    for name in ("weight_depth", "neuron_depth", "row_depth", "program_depth"):
        needed[name] = max(RANGES[name][0], needed[name])
    shifted = (_broadcast_bits(network, needed["update_shift"]) for network in networks)
    return {
        **needed,
        "lanes": lanes,
        "broadcast_bits": max(needed["vector_bits"] + 1, *shifted),
        **built_in,
    }


def joint_formats(networks: Sequence[Network]) -> dict[str, Format]:
    """The formats that are part of the datapath of an engine for some networks.

    Raises
    ------
    FitError
        If two of them need different ones.
    """
    first, *others = networks
    formats = _built_in(first.formats)
    for network in others:
        for name, form in _built_in(network.formats).items():
            if form != formats[name]:
                raise FitError(
                    f"no engine runs both {first.name!r} and {network.name!r}: formats.{name} is {formats[name]} in one and {form} in the "
                    "other, and it is built in; use the same format, or build two engines"
                )
    return formats


def _rounded(needed: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {**needed, **{name: max(8, 1 << (needed[name] - 1).bit_length()) for name in names}}


def _built_in(formats: Formats) -> dict[str, Format]:
    """The formats that are part of an engine's datapath."""
    return {
        "weight": formats.weight,
        "mac_weight": formats.multiplied,
        "pre_activation": formats.pre_activation,
        "drive": formats.drive,
    }


def _blocks(rows: int, lanes: int) -> int:
    return -(-rows // lanes)


def _stored(network: Network) -> list[tuple[int, int, bool]]:
    """Rows and columns of each block as it is stored, and whether a row is a neuron of its source."""
    shapes = zip(network.weight_shapes, by_source(network), strict=True)
    return [(columns, rows, True) if turned else (rows, columns, False) for (rows, columns), turned in shapes]


def _keeping(network: Network, lanes: int) -> list[int]:
    """Layers whose rows keep the states when they have deviations, which a block to the output learns from.

    One lane has no rows: it takes both from where the neurons' values are.
    """
    blocks = zip(network.ends, by_source(network), strict=True)
    return sorted({source for (source, _), turned in blocks if turned and lanes > 1})


def _signed_bits(magnitude: int) -> int:
    return magnitude.bit_length() + 1


def _rates(network: Network) -> tuple[int, int]:
    """Smallest and largest binary logarithm of the learning rate of a run."""
    learning = network.learning
    return learning.rate_at(learning.epochs - 1), learning.rate_at(0)


def _broadcast(network: Network, block: int) -> Format:
    """Format of what an update of a block broadcasts."""
    if by_source(network)[block]:
        return network.formats.error
    return network.formats.state if network.ends[block][0] else network.formats.input


def _broadcast_bits(network: Network, update_shift: int) -> int:
    fastest = _rates(network)[1]
    bits = [
        _broadcast(network, block).signed_width + update_shift - (fraction - fastest)
        for block, fraction in update_fractions(network).items()
    ]
    return max(bits, default=0)


def _needs(network: Network, lanes: int) -> dict[str, int]:
    """The least legal value of each sizing parameter."""
    formats, widths = network.formats, network.widths
    weight = formats.multiplied.maximum
    slowest, fastest = _rates(network)
    fractions = update_fractions(network).values()
    if min(fractions, default=fastest) < fastest:
        raise FitError(
            f"a learning rate of 2^{fastest} moves a weight of {formats.weight} by more than the finest product; "
            "lower learning.rate or use formats with more fraction bits"
        )
    depths = {
        "weight_depth": sum(_blocks(rows, lanes) * columns for rows, columns, _ in _stored(network)),
        "neuron_depth": sum(widths),
        "row_depth": sum(_blocks(width, lanes) for width in (*widths[1:], *(widths[layer] for layer in _keeping(network, lanes)))),
    }
    # A network beyond every engine has addresses that no instruction can hold.
    nodes = 1 << FIELDS["node"].bits
    if len(widths) > nodes:
        raise FitError(f"network {network.name!r} has {len(widths)} layers, and no engine runs more than {nodes}")
    for name, need in depths.items():
        most = RANGES[name][1]
        if need > most:
            raise FitError(
                f"network {network.name!r} fits no engine of {lanes} lanes: {name} must be {need}, the most is {most} "
                f"({need - most} too few); use more lanes or narrower layers"
            )
    lane_sums, drives = [1], [1]
    compiler = _Compiler(network, EngineParameters(lanes=lanes))
    for layer in range(1, len(widths)):
        for terms in filter(None, (compiler.terms[layer], compiler.clamped_terms[layer])):
            total = 0
            for term in terms:
                total += term.sources * weight * term.largest << drive_fraction(network, terms) - term.fraction
                # A change is up to twice as large as a value.
                lane_sums.append(term.sources * weight * 2 * term.largest)
            drives.append(total)
    vector = max(f.signed_width for f in (formats.input, formats.state, formats.deviation, formats.error))
    if network.relaxation.literal:
        # The difference of two states stands where a deviation does.
        vector = max(vector, formats.state.signed_width + 1)
    return {
        "vector_bits": vector,
        "accumulator_bits": _signed_bits(max(lane_sums)),
        "drive_bits": _signed_bits(max(drives)),
        "update_shift": max(fractions, default=slowest) - slowest,
        **depths,
        "program_depth": len(compiler.compile().instructions),
    }


class _Compiler:
    def __init__(self, network: Network, parameters: EngineParameters) -> None:
        self.network = network
        self.parameters = parameters
        self.output = len(network.layers) - 1
        self.hidden = range(1, self.output)
        everything = range(len(network.layers))
        literal = network.relaxation.literal
        self.free_terms = [free_terms(network, layer) if layer else [] for layer in everything]
        self.clamped_terms = [clamped_terms(network, layer) if layer in self.hidden and not literal else [] for layer in everything]
        # In the literal form one drive goes through both phases, so it stands at the binary point of all that ever enters it.
        self.terms = [nudged_terms(network, layer) if layer in self.hidden and literal else self.free_terms[layer] for layer in everything]
        self.fractions = [drive_fraction(network, terms) if terms else 0 for terms in self.terms]
        self.layers = self._map_layers()
        self.deviations = self._map_deviations()
        self.blocks = self._map_blocks()

    def _map_layers(self) -> tuple[LayerMap, ...]:
        layers, neuron, row = [], 0, 0
        for index, width in enumerate(self.network.widths):
            layers.append(LayerMap(neuron, row if index else 0, width))
            neuron += width
            row += _blocks(width, self.parameters.lanes) if index else 0
        return tuple(layers)

    def _map_deviations(self) -> dict[int, int]:
        """Addresses of the first row block of the deviations that stand apart from the states, by layer."""
        lanes, widths = self.parameters.lanes, self.network.widths
        rows, row = {}, sum(_blocks(width, lanes) for width in widths[1:])
        for layer in _keeping(self.network, lanes):
            rows[layer] = row
            row += _blocks(widths[layer], lanes)
        return rows

    def _map_blocks(self) -> tuple[BlockMap, ...]:
        blocks, address, column = [], 0, 0
        for rows, columns, turned in _stored(self.network):
            blocks.append(BlockMap(address, rows, columns, column, turned))
            address += _blocks(rows, self.parameters.lanes) * columns
            column += columns
        return tuple(blocks)

    def accumulate(
        self, layer: int, fraction: int, wanted: list[Term], first: bool, full: bool = False, deviations: bool = False
    ) -> list[Instruction]:
        """The instructions that add terms to a drive of so many fraction bits, of states or deviations.

        ``first``: to nothing, so that no term makes it zero.
        """
        if first and not wanted:
            # A broadcast of no source sets the drive to zero.
            return [Instruction(op=Op.FORWARD, first=1, full=1, rows=self.layers[layer].width, target=self.layers[layer].neuron)]
        # The order changes no sum: what the lanes broadcast comes first, since its sums leave while a transposed pass is under way.
        ordered = sorted(wanted, key=self._crosses)
        return [
            self._product(layer, fraction, term, first and index == 0, full and term.source > 0, deviations)
            for index, term in enumerate(ordered)
        ]

    def _crosses(self, term: Term) -> bool:
        """Whether a term is summed over the lanes."""
        return term.transposed != self.blocks[term.block].by_source

    def _product(self, layer: int, fraction: int, term: Term, first: bool, full: bool, deviations: bool) -> Instruction:
        block = self.blocks[term.block]
        across = self._crosses(term)
        row = self._deviation_row(term.source) if deviations else self.layers[term.source].row
        return Instruction(
            op=Op.TRANSPOSED if across else Op.FORWARD,
            first=first,
            full=full,
            rows=block.rows,
            columns=block.columns,
            source=self.layers[term.source].neuron,
            node=term.source,
            row=row if across else 0,
            target=self.layers[layer].neuron,
            weights=block.weights,
            shift=fraction - term.fraction,
        )

    def _layer_fields(self, layer: int) -> dict[str, int]:
        place = self.layers[layer]
        return {"rows": place.width, "target": place.neuron, "row": place.row, "node": layer}

    def _deviation_row(self, layer: int) -> int:
        """The layer's first row block when it has deviations."""
        return self.deviations.get(layer, self.layers[layer].row)

    def activate(self, layer: int, first: bool, clamped: bool = False) -> Instruction:
        """The instruction that turns a layer's drive into states."""
        formats = self.network.formats
        return Instruction(
            op=Op.ACTIVATE,
            kind=ACTIVATIONS.index(self.network.layers[layer].activation),
            first=first,
            full=clamped,
            **self._layer_fields(layer),
            round=self.fractions[layer] - formats.pre_activation.fraction,
            round2=SLOPE_FRACTION + formats.pre_activation.fraction - formats.state.fraction,
            bits=formats.state.magnitude_bits,
        )

    def deviate(self, layer: int, first: bool) -> Instruction:
        """The instruction that turns a layer's drive into deviations."""
        formats = self.network.formats
        return Instruction(
            op=Op.DEVIATE,
            first=first,
            **{**self._layer_fields(layer), "row": self._deviation_row(layer)},
            round=drive_fraction(self.network, self.clamped_terms[layer]) - formats.drive.fraction,
            round2=SLOPE_FRACTION + formats.drive.fraction - formats.deviation.fraction,
            bits=formats.deviation.magnitude_bits,
        )

    def _sweeps(self, kind: int, count: int, first: list[Instruction], again: list[Instruction]) -> list[Instruction]:
        program = [Instruction(op=Op.SWEEP, kind=kind), *first]
        if count > 1:
            body = [Instruction(op=Op.SWEEP, kind=kind), *again]
            program += [Instruction(op=Op.LOOP, count=count - 1), *body, Instruction(op=Op.NEXT)]
        return program

    def _phase(
        self,
        kind: int,
        count: int,
        layers: Sequence[int],
        terms: list[list[Term]],
        fractions: list[int],
        constant: int,
        settle: Callable[[int, bool], Instruction],
    ) -> list[Instruction]:
        """Relaxation from zero. The layer ``constant`` feeds values that do not change, so its terms are added once."""
        settled: set[int] = {constant}
        first, again = [], []
        for layer in layers:
            # What has not settled yet is zero.
            known = [term for term in terms[layer] if term.source in settled]
            first.append((self.accumulate(layer, fractions[layer], known, True, deviations=bool(kind)), settle(layer, True)))
            varying = [term for term in terms[layer] if term.source != constant]
            again.append((self.accumulate(layer, fractions[layer], varying, False, deviations=bool(kind)), settle(layer, False)))
            if self.network.relaxation.schedule == "sequential":
                settled.add(layer)
        return self._sweeps(kind, count, self._sweep(first), self._sweep(again))

    def _sweep(self, steps: list[tuple[list[Instruction], Instruction]]) -> list[Instruction]:
        """Drive and settle layer after layer, or all drives before any layer settles."""
        if self.network.relaxation.schedule == "sequential":
            return [instruction for drive, settle in steps for instruction in (*drive, settle)]
        return [instruction for drive, _ in steps for instruction in drive] + [settle for _, settle in steps]

    def free_phase(self) -> list[Instruction]:
        """Relaxation of the states, then the drive of the output layer."""
        sweeps = self.network.relaxation.free_sweeps
        return [
            *self._phase(0, sweeps, self.hidden, self.free_terms, self.fractions, 0, self.activate),
            *self.accumulate(self.output, self.fractions[self.output], self.free_terms[self.output], True, full=True),
        ]

    def clamped_phase(self) -> list[Instruction]:
        """Relaxation of the deviations, or of the states under the nudge."""
        relaxation = self.network.relaxation
        if relaxation.literal:
            return self._literal_phase()
        fractions = [drive_fraction(self.network, terms) if terms else 0 for terms in self.clamped_terms]
        layers, sweeps = self.hidden[::-1], relaxation.clamped_sweeps
        return self._phase(1, sweeps, layers, self.clamped_terms, fractions, self.output, self.deviate)

    def _literal_phase(self) -> list[Instruction]:
        """The states go on from the free ones, whose copies wait where the deviations will be."""
        refreshed = self.network.relaxation.error == "refreshed"
        first, again = [], []
        for layer in self.hidden:
            varying = [term for term in self.terms[layer] if 0 < term.source < self.output]
            nudges = [term for term in self.terms[layer] if term.source == self.output]
            settle = self.activate(layer, False, clamped=True)
            first.append((self.accumulate(layer, self.fractions[layer], varying + nudges, False), settle))
            changing = varying + nudges if refreshed else varying
            again.append((self.accumulate(layer, self.fractions[layer], changing, False), settle))
        refresh = []
        if refreshed:
            varying = [term for term in self.free_terms[self.output] if term.source > 0]
            refresh = [*self.accumulate(self.output, self.fractions[self.output], varying, False), self.error(False)]
        return [
            *(Instruction(op=Op.SNAPSHOT, **self._layer_fields(layer)) for layer in self.hidden),
            *self._sweeps(1, self.network.relaxation.clamped_sweeps, self._sweep(first), refresh + self._sweep(again)),
            *(Instruction(op=Op.DIFFERENCE, **self._layer_fields(layer)) for layer in self.hidden),
        ]

    def error(self, first: bool) -> Instruction:
        """The instruction that computes the output error: the free state's, or a later one."""
        fraction = self.network.formats.error.fraction
        return Instruction(
            op=Op.ERROR,
            first=first,
            **self._layer_fields(self.output),
            round=self.fractions[self.output] - LOGIT_FRACTION,
            round2=RECIPROCAL_FRACTION + TERM_FRACTION - fraction,
            bits=fraction,
        )

    def updates(self, rows: Sequence[int], turned: bool) -> list[Instruction]:
        """The learning rule for blocks whose rows are those layers; nothing where an engine could only learn something else."""
        if self.network.learning.summed:
            return []
        learned = [(layer, index) for layer in rows for index in update_fractions(self.network) if self._rows_of(index) == layer]
        return [self._update(index) for layer, index in learned if self.blocks[index].by_source == turned]

    def _rows_of(self, index: int) -> int:
        """The layer whose neurons are a block's rows."""
        source, target = self.network.ends[index]
        return source if self.blocks[index].by_source else target

    def _update(self, index: int) -> Instruction:
        block, ends = self.blocks[index], self.network.ends[index]
        rows_layer, column_layer = ends if block.by_source else ends[::-1]
        return Instruction(
            op=Op.UPDATE,
            kind=int(block.by_source),
            # The error stands in the list of changes, which it is from nothing; states in the list of all.
            full=int(column_layer > 0 and not block.by_source),
            nearest=int(self.network.learning.rounding == "nearest"),
            rows=block.rows,
            columns=block.columns,
            source=self.layers[column_layer].neuron,
            node=column_layer,
            row=self.layers[rows_layer].row if block.by_source else self._deviation_row(rows_layer),
            weights=block.weights,
            column=block.column,
            shift=max(self.parameters.update_shift - update_fractions(self.network)[index], 0),
        )

    def compile(self) -> Program:
        """The whole program."""
        end = Instruction(op=Op.END)
        train = [
            *self.free_phase(),
            self.error(True),
            # In the literal form a state that has not settled moves on, and teaches, without an error too.
            *([] if self.network.relaxation.literal else [Instruction(op=Op.STOP_IF_RIGHT)]),
            *self.clamped_phase(),
            # What learns from states waits for nothing; of the others, those whose layers moved last come last.
            *self.updates(range(self.output, 0, -1), True),
            *self.updates(range(self.output, 0, -1), False),
            end,
        ]
        infer = [*self.free_phase(), Instruction(op=Op.PREDICT, **self._layer_fields(self.output)), end]
        return Program(self.network, self.parameters, self.layers, self.blocks, (*train, *infer), len(train))
