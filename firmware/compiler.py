# SPDX-License-Identifier: Apache-2.0
"""The compiler: a network becomes a program and a memory map for given engine parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .arithmetic import ACTIVATIONS, LOGIT_FRACTION, RECIPROCAL_FRACTION, SLOPE_FRACTION, TERM_FRACTION, IntArray
from .errors import FitError
from .isa import FIELDS, Instruction, Op
from .network import Network
from .parameters import RANGES, EngineParameters


@dataclass(frozen=True)
class LayerMap:
    """Where a layer lives: address of its first neuron and of its first row block (the input has no rows)."""

    neuron: int
    row: int
    width: int


@dataclass(frozen=True)
class BlockMap:
    """Where a weight block lives: first address, (rows, columns), and the number of its first column."""

    weights: int
    rows: int
    columns: int
    column: int


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
        weights : list of (rows, columns) int64
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
            if values.shape != (block.rows, block.columns):
                raise FitError(f"weights of {name} have shape {values.shape}, not {(block.rows, block.columns)}")
            if np.abs(values).max(initial=0) > limit:
                raise FitError(f"weights of {name} do not fit {self.parameters.weight}: {np.abs(values).max()} > {limit}")
            count = _blocks(block.rows, lanes)
            padded = np.zeros((count * lanes, block.columns), dtype=np.int16)
            padded[: block.rows] = values
            words = padded.reshape(count, lanes, block.columns).transpose(0, 2, 1).reshape(-1, lanes)
            image[block.weights : block.weights + len(words)] = words
        return image

    def unpack(self, image: np.ndarray) -> list[IntArray]:
        """Weight blocks, (rows, columns) int64 each, of a (weight_words, lanes) array: the inverse of `pack`."""
        lanes = self.parameters.lanes
        blocks = []
        for block in self.blocks:
            count = _blocks(block.rows, lanes)
            words = image[block.weights : block.weights + count * block.columns].reshape(count, block.columns, lanes)
            blocks.append(words.transpose(0, 2, 1).reshape(count * lanes, block.columns)[: block.rows].astype(np.int64))
        return blocks


def compile_network(network: Network, parameters: EngineParameters) -> Program:
    """Compile a network for an engine.

    Raises
    ------
    FitError
        If it does not fit; the message names every parameter that is too small, what is needed and what there is.
    """
    misfits = []
    for name in ("weight", "pre_activation", "drive"):
        asked, built = getattr(network.formats, name), getattr(parameters, name)
        if asked != built:
            misfits.append(f"formats.{name} is {asked}, the engine is built for {built}")
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


def requirements(network: Network, lanes: int) -> dict[str, Any]:
    """Parameters of the smallest engine, with power-of-two depths, that runs a network on so many lanes."""
    needed = _needs(network, lanes)
    for name in ("weight_depth", "neuron_depth", "row_depth", "program_depth"):
        needed[name] = max(8, 1 << (needed[name] - 1).bit_length())
    floors = {"vector_bits": 4, "accumulator_bits": 16, "drive_bits": 16, "update_shift": 4}
    needed = {name: max(value, floors.get(name, 0)) for name, value in needed.items()}
    broadcast = max(_broadcast_bits(network, needed["update_shift"]), needed["vector_bits"] + 1)
    formats = network.formats
    return {
        **needed,
        "lanes": lanes,
        "broadcast_bits": broadcast,
        "weight": formats.weight,
        "pre_activation": formats.pre_activation,
        "drive": formats.drive,
    }


def _blocks(rows: int, lanes: int) -> int:
    return -(-rows // lanes)


def _signed_bits(magnitude: int) -> int:
    return magnitude.bit_length() + 1


def _update_fractions(network: Network) -> list[int]:
    """Bits by which each block's product of deviation and state is finer than its weight, at learning rate 1."""
    formats = network.formats
    last = len(network.layers) - 2
    return [
        (formats.error if index == last else formats.deviation).fraction
        + (formats.input if index == 0 else formats.state).fraction
        - formats.weight.fraction
        for index in range(last + 1)
    ]


def _rates(network: Network) -> tuple[int, int]:
    """Smallest and largest binary logarithm of the learning rate of a run."""
    learning = network.learning
    return learning.rate_at(learning.epochs - 1), learning.rate_at(0)


def _broadcast_bits(network: Network, update_shift: int) -> int:
    formats = network.formats
    widths = [formats.input.signed_width] + [formats.state.signed_width] * (len(network.layers) - 2)
    fine = _rates(network)[1]
    return max(w + update_shift - (fraction - fine) for w, fraction in zip(widths, _update_fractions(network), strict=True))


def _needs(network: Network, lanes: int) -> dict[str, int]:
    """The least legal value of each sizing parameter."""
    formats, widths = network.formats, network.widths
    weight = formats.weight.maximum
    slowest, fastest = _rates(network)
    fractions = _update_fractions(network)
    if min(fractions) - fastest < 0:
        raise FitError(
            f"a learning rate of 2^{fastest} moves a weight of {formats.weight} by more than the finest product; "
            "lower learning.rate or use formats with more fraction bits"
        )
    depths = {
        "weight_depth": sum(_blocks(rows, lanes) * columns for rows, columns in network.weight_shapes),
        "neuron_depth": sum(widths),
        "row_depth": sum(_blocks(width, lanes) for width in widths[1:]),
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
        for terms in filter(None, (compiler.free_terms(layer), compiler.clamped_terms(layer))):
            total = 0
            for term in terms:
                sources, largest = term.sources, term.largest
                total += sources * weight * largest << compiler.alignment(terms) - term.fraction
                # A change is up to twice as large as a value.
                lane_sums.append(sources * weight * 2 * largest)
            drives.append(total)
    vector = max(f.signed_width for f in (formats.input, formats.state, formats.deviation, formats.error))
    return {
        "vector_bits": vector,
        "accumulator_bits": _signed_bits(max(lane_sums)),
        "drive_bits": _signed_bits(max(drives)),
        "update_shift": max(fractions) - slowest,
        **depths,
        "program_depth": len(compiler.compile().instructions),
    }


@dataclass(frozen=True)
class _Term:
    """A product that enters a drive: from which layer, through which block, which way, at which fraction."""

    source: int
    block: int
    transposed: bool
    fraction: int
    sources: int
    largest: int


class _Compiler:
    def __init__(self, network: Network, parameters: EngineParameters) -> None:
        self.network = network
        self.parameters = parameters
        self.output = len(network.layers) - 1
        self.hidden = range(1, self.output)
        self.layers = self._map_layers()
        self.blocks = self._map_blocks()

    def _map_layers(self) -> tuple[LayerMap, ...]:
        layers, neuron, row = [], 0, 0
        for index, width in enumerate(self.network.widths):
            layers.append(LayerMap(neuron, row if index else 0, width))
            neuron += width
            row += _blocks(width, self.parameters.lanes) if index else 0
        return tuple(layers)

    def _map_blocks(self) -> tuple[BlockMap, ...]:
        blocks, address, column = [], 0, 0
        for rows, columns in self.network.weight_shapes:
            blocks.append(BlockMap(address, rows, columns, column))
            address += _blocks(rows, self.parameters.lanes) * columns
            column += columns
        return tuple(blocks)

    def free_terms(self, layer: int) -> list[_Term]:
        """Terms of a layer's drive in the free phase."""
        formats, widths = self.network.formats, self.network.widths
        source = formats.input if layer == 1 else formats.state
        weight = formats.weight.fraction
        terms = [_Term(layer - 1, layer - 1, False, weight + source.fraction, widths[layer - 1], source.maximum)]
        if layer + 1 < self.output:
            fraction = weight + formats.state.fraction - self.network.edges[layer].feedback_exponent
            terms.append(_Term(layer + 1, layer, True, fraction, widths[layer + 1], formats.state.maximum))
        return terms

    def clamped_terms(self, layer: int) -> list[_Term]:
        """Terms of a hidden layer's drive in the clamped phase: the feedback first, then the forward term.

        The feedback has factor 1, since each layer's deviation stands at its own scale gamma; the forward term is
        scaled by the ratio of the two layers' gammas, the feedback scale of the edge between them.
        """
        if layer == self.output:
            return []
        formats, widths = self.network.formats, self.network.widths
        source = formats.error if layer + 1 == self.output else formats.deviation
        weight = formats.weight.fraction
        terms = [_Term(layer + 1, layer, True, weight + source.fraction, widths[layer + 1], source.maximum)]
        if layer > 1:
            fraction = weight + formats.deviation.fraction - self.network.edges[layer - 1].feedback_exponent
            terms.append(_Term(layer - 1, layer - 1, False, fraction, widths[layer - 1], formats.deviation.maximum))
        return terms

    def alignment(self, terms: list[_Term]) -> int:
        """Fraction bits of a drive: those of its finest term, and no fewer than what it is rounded to."""
        formats = self.network.formats
        rounded = max(formats.pre_activation.fraction, formats.drive.fraction, LOGIT_FRACTION)
        return max(rounded, *(term.fraction for term in terms))

    def accumulate(self, layer: int, terms: list[_Term], term: _Term, first: bool, full: bool = False) -> Instruction:
        """The instruction that adds one term to a layer's drive."""
        block = self.blocks[term.block]
        return Instruction(
            op=Op.TRANSPOSED if term.transposed else Op.FORWARD,
            first=first,
            full=full,
            rows=block.rows,
            columns=block.columns,
            source=self.layers[term.source].neuron,
            node=term.source,
            row=self.layers[term.source].row if term.transposed else 0,
            target=self.layers[layer].neuron,
            weights=block.weights,
            shift=self.alignment(terms) - term.fraction,
        )

    def clear(self, layer: int) -> Instruction:
        """The instruction that sets a layer's drive to zero: a broadcast of no source."""
        return Instruction(op=Op.FORWARD, first=1, full=1, rows=self.layers[layer].width, target=self.layers[layer].neuron)

    def _layer_fields(self, layer: int) -> dict[str, int]:
        place = self.layers[layer]
        return {"rows": place.width, "target": place.neuron, "row": place.row, "node": layer}

    def activate(self, layer: int, first: bool) -> Instruction:
        """The instruction that turns a layer's drive into states."""
        formats = self.network.formats
        return Instruction(
            op=Op.ACTIVATE,
            kind=ACTIVATIONS.index(self.network.layers[layer].activation),
            first=first,
            **self._layer_fields(layer),
            round=self.alignment(self.free_terms(layer)) - formats.pre_activation.fraction,
            round2=SLOPE_FRACTION + formats.pre_activation.fraction - formats.state.fraction,
            bits=formats.state.magnitude_bits,
        )

    def deviate(self, layer: int, first: bool) -> Instruction:
        """The instruction that turns a layer's drive into deviations."""
        formats = self.network.formats
        return Instruction(
            op=Op.DEVIATE,
            first=first,
            **self._layer_fields(layer),
            round=self.alignment(self.clamped_terms(layer)) - formats.drive.fraction,
            round2=SLOPE_FRACTION + formats.drive.fraction - formats.deviation.fraction,
            bits=formats.deviation.magnitude_bits,
        )

    def _sweeps(self, kind: int, count: int, first: list[Instruction], again: list[Instruction]) -> list[Instruction]:
        program = [Instruction(op=Op.SWEEP, kind=kind), *first]
        if count > 1:
            body = [Instruction(op=Op.SWEEP, kind=kind), *again]
            program += [Instruction(op=Op.LOOP, count=count - 1), *body, Instruction(op=Op.NEXT)]
        return program

    def free_phase(self) -> list[Instruction]:
        """Relaxation from the zero states, then the drive of the output layer."""
        first: list[Instruction] = []
        again: list[Instruction] = []
        last: list[Instruction] = []
        jacobi = self.network.relaxation.schedule == "jacobi"
        for layer in self.hidden:
            terms = self.free_terms(layer)
            if jacobi and layer > 1:
                first.append(self.clear(layer))
            else:
                first.append(self.accumulate(layer, terms, terms[0], True))
            if not jacobi:
                first.append(self.activate(layer, True))
            # The input's drive is computed once: it does not change while a sample is shown.
            again += [self.accumulate(layer, terms, term, False) for term in terms if term.source > 0]
            if not jacobi:
                again.append(self.activate(layer, False))
        if jacobi:
            first += [self.activate(layer, True) for layer in self.hidden]
            again += [self.activate(layer, False) for layer in self.hidden]
        terms = self.free_terms(self.output)
        last.append(self.accumulate(self.output, terms, terms[0], True, full=True))
        return self._sweeps(0, self.network.relaxation.free_sweeps, first, again) + last

    def clamped_phase(self) -> list[Instruction]:
        """Relaxation of the deviations from zero."""
        first: list[Instruction] = []
        again: list[Instruction] = []
        jacobi = self.network.relaxation.schedule == "jacobi"
        top = self.output - 1
        for layer in reversed(self.hidden):
            terms = self.clamped_terms(layer)
            if jacobi and layer < top:
                first.append(self.clear(layer))
            else:
                first.append(self.accumulate(layer, terms, terms[0], True))
            if not jacobi:
                first.append(self.deviate(layer, True))
            # The output error is held from the free state, so its term is added once.
            again += [self.accumulate(layer, terms, term, False) for term in terms if term.source != self.output]
            if not jacobi:
                again.append(self.deviate(layer, False))
        if jacobi:
            first += [self.deviate(layer, True) for layer in reversed(self.hidden)]
            again += [self.deviate(layer, False) for layer in reversed(self.hidden)]
        return self._sweeps(1, self.network.relaxation.clamped_sweeps, first, again)

    def updates(self) -> list[Instruction]:
        """The learning rule for every block."""
        fractions = _update_fractions(self.network)
        return [
            Instruction(
                op=Op.UPDATE,
                full=int(index > 0),
                nearest=int(self.network.learning.rounding == "nearest"),
                rows=block.rows,
                columns=block.columns,
                source=self.layers[index].neuron,
                node=index,
                row=self.layers[index + 1].row,
                weights=block.weights,
                column=block.column,
                shift=max(self.parameters.update_shift - fractions[index], 0),
            )
            for index, block in enumerate(self.blocks)
        ]

    def compile(self) -> Program:
        """The whole program."""
        output = self._layer_fields(self.output)
        logits = self.alignment(self.free_terms(self.output)) - LOGIT_FRACTION
        error = self.network.formats.error.fraction
        end = Instruction(op=Op.END)
        train = [
            *self.free_phase(),
            Instruction(op=Op.ERROR, **output, round=logits, round2=RECIPROCAL_FRACTION + TERM_FRACTION - error, bits=error),
            Instruction(op=Op.STOP_IF_RIGHT),
            *self.clamped_phase(),
            *self.updates(),
            end,
        ]
        infer = [*self.free_phase(), Instruction(op=Op.PREDICT, **output), end]
        return Program(self.network, self.parameters, self.layers, self.blocks, (*train, *infer), len(train))
