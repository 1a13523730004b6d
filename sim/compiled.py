# SPDX-License-Identifier: Apache-2.0
"""The golden model's fast path: compiled loops over events, equal to `frenn.sim.golden.Golden` in every bit."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..firmware import arithmetic
from ..firmware.arithmetic import BASE_FRACTION, LOGIT_FRACTION, SLOPE_FRACTION, IntArray
from ..firmware.counters import GOLDEN
from ..firmware.graph import Term, by_source, clamped_terms, drive_fraction, free_terms, nudged_terms
from ..firmware.network import Network
from ..firmware.protocol import Skip
from .golden import EVERYTHING, Golden


class CompiledGolden(Golden):
    """`Golden` by other means: zero sources, unchanged neurons and zero deviations cost nothing, and numba compiles it.

    Parameters, attributes, methods and errors are those of `Golden`. The first instance of a process imports numba.
    """

    def __init__(self, network: Network, *, skip: Skip = EVERYTHING) -> None:
        super().__init__(network, skip=skip)
        # Late, so that whoever only imports this module does not wait for numba.
        from . import event_kernels

        self._kernels = event_kernels
        self._layers = event_kernels.Layers(**self._layer_table())
        self._blocks = event_kernels.Blocks(**self._block_table())
        self._free = event_kernels.Terms(**self._term_table(free_terms, range(1, self.output + 1), 0))
        clamped = nudged_terms if network.relaxation.literal else clamped_terms
        self._clamped = event_kernels.Terms(**self._term_table(clamped, self.hidden, self.output))
        self._rules = event_kernels.Rules(**self._rule_table())
        self._memory = event_kernels.Memory(**self._memory_table())
        initial = self._weights
        # Views of the flat memory: what is loaded is stored there.
        self._weights = [
            self._memory.weights[first : first + rows * columns].reshape(columns, rows).T
            for first, (rows, columns) in zip(self._blocks.first, network.weight_shapes, strict=True)
        ]
        self.load(initial)

    def load(self, weights: Sequence[IntArray]) -> None:
        super().load(weights)
        if self._rules.narrow:
            for block, first in enumerate(self._blocks.first):
                # A block is stored column after column.
                copies = self._multiplied(block).T.ravel()
                self._memory.multiplied[first : first + copies.size] = copies

    def counters(self) -> dict[str, int]:
        return dict(zip(GOLDEN, self._memory.counters.tolist(), strict=True))

    def clear_counters(self) -> None:
        self._memory.counters[:] = 0

    def _train(self, inputs: IntArray, labels: IntArray, step: int, shifts: list[int]) -> tuple[IntArray, NDArray[np.bool_]]:
        predictions = np.zeros(len(inputs), dtype=np.int64)
        wrong = np.zeros(len(inputs), dtype=np.bool_)
        self._blocks.shift[:] = shifts
        phases = (self._free, self._clamped)
        self._kernels.train(self._memory, self._layers, self._blocks, *phases, self._rules, inputs, labels, step, predictions, wrong)
        self._show()
        return predictions, wrong

    def _infer(self, inputs: IntArray) -> IntArray:
        predictions = np.zeros(len(inputs), dtype=np.int64)
        self._kernels.infer(self._memory, self._layers, self._blocks, self._free, self._rules, inputs, predictions)
        self._show()
        return predictions

    def _show(self) -> None:
        """Copy the neurons of each layer to where `Golden` shows them."""
        for flat, shown in (
            (self._memory.states, self.states),
            (self._memory.slopes, self.slopes),
            (self._memory.deviations, self.deviations),
        ):
            for layer, first in enumerate(self._layers.neuron):
                shown[layer] = flat[first : first + len(shown[layer])].copy()

    def _layer_table(self) -> dict[str, Any]:
        network, count = self.network, len(self.network.layers)
        formats = network.formats
        width = np.array(network.widths, dtype=np.int64)
        # The output's activation is not used: a softmax stands in its place.
        tables = [arithmetic.activation_table(layer.activation) for layer in network.layers]
        table: dict[str, IntArray] = {
            "width": width,
            "neuron": np.cumsum(width) - width,
            "bases": np.array([bases for bases, _ in tables]),
            "slopes": np.array([slopes for _, slopes in tables]),
            "one_sided": np.array([layer.activation == "hard_sigmoid" for layer in network.layers], dtype=np.int64),
        }
        for name in ("free_round", "clamped_round"):
            table[name] = np.zeros(count, dtype=np.int64)
        for layer in range(1, count):
            phases = [("free", free_terms(network, layer), formats.pre_activation.fraction)]
            if layer == self.output:
                phases = [("free", free_terms(network, layer), LOGIT_FRACTION)]
            else:
                phases.append(("clamped", clamped_terms(network, layer), formats.drive.fraction))
                if network.relaxation.literal:
                    # One drive goes through both phases, at the binary point of all that ever enters it.
                    phases = [("free", nudged_terms(network, layer), formats.pre_activation.fraction)]
            for phase, terms, rounded in phases:
                table[f"{phase}_round"][layer] = drive_fraction(network, terms) - rounded
        return table

    def _term_table(self, terms: Callable[[Network, int], list[Term]], layers: range, constant: int) -> dict[str, Any]:
        network = self.network
        everything = [terms(network, layer) if layer in layers else [] for layer in range(len(network.layers))]
        aligned = [
            nudged_terms(network, layer) if network.relaxation.literal and layer in self.hidden else own
            for layer, own in enumerate(everything)
        ]
        flat = [(term, drive_fraction(network, by)) for own, by in zip(everything, aligned, strict=True) for term in own]
        return {
            "begin": np.cumsum([0, *map(len, everything)]),
            "source": np.array([term.source for term, _ in flat]),
            "block": np.array([term.block for term, _ in flat]),
            "transposed": np.array([int(term.transposed) for term, _ in flat]),
            "shift": np.array([fraction - term.fraction for term, fraction in flat]),
            "constant": constant,
        }

    def _block_table(self) -> dict[str, IntArray]:
        rows, columns = np.array(self.network.weight_shapes, dtype=np.int64).T.copy()
        source, target = np.array(self.network.ends, dtype=np.int64).T.copy()
        turned = np.array(by_source(self.network), dtype=np.int64)
        words = np.where(turned, rows, columns)
        return {
            "first": np.cumsum(rows * columns) - rows * columns,
            "source": source,
            "target": target,
            "learns": np.array([int(edge.learns and not self.network.learning.on_host) for edge in self.network.edges]),
            "rows": rows,
            "columns": columns,
            "turned": turned,
            "word": np.cumsum(words) - words,
            "shift": np.zeros_like(rows),
        }

    def _rule_table(self) -> dict[str, Any]:
        network, formats = self.network, self.network.formats
        pre_activation = formats.pre_activation
        return {
            "jacobi": network.relaxation.schedule == "jacobi",
            "free_sweeps": network.relaxation.free_sweeps,
            "clamped_sweeps": network.relaxation.clamped_sweeps,
            "skip_rest": bool(self.skip & Skip.REST),
            "skip_right": bool(self.skip & Skip.RIGHT) and not network.relaxation.literal,
            "batch": network.learning.batch if network.learning.summed else 1,
            "nearest": network.learning.rounding == "nearest",
            "pre_activation_limit": pre_activation.maximum,
            "segment_shift": pre_activation.fraction - 2,
            "base_shift": SLOPE_FRACTION + pre_activation.fraction - BASE_FRACTION,
            "state_round": SLOPE_FRACTION + pre_activation.fraction - formats.state.fraction,
            "state_limit": formats.state.maximum,
            "logit_limit": (1 << arithmetic.LOGIT_BITS) - 1,
            "logit_fraction": LOGIT_FRACTION,
            "term_fraction": arithmetic.TERM_FRACTION,
            "index_bits": arithmetic.RECIPROCAL_INDEX_BITS,
            "reciprocal_fraction": arithmetic.RECIPROCAL_FRACTION,
            "error_fraction": formats.error.fraction,
            "drive_limit": formats.drive.maximum,
            "deviation_round": SLOPE_FRACTION + formats.drive.fraction - formats.deviation.fraction,
            "deviation_limit": formats.deviation.maximum,
            "weight_limit": formats.weight.maximum,
            "narrow_round": formats.weight.fraction - formats.multiplied.fraction,
            "narrow_limit": formats.multiplied.maximum,
            "narrow": formats.multiplied != formats.weight,
            "literal": network.relaxation.literal,
            "refreshed": network.relaxation.error == "refreshed",
            "row_rotation": arithmetic.ROW_ROTATION,
            "keys": arithmetic.mix_keys(network.seed).astype(np.int64),
            "reciprocal": arithmetic.reciprocal_table(),
        }

    def _memory_table(self) -> dict[str, NDArray[Any]]:
        network, formats = self.network, self.network.formats
        neurons = sum(network.widths)
        clamped = nudged_terms if network.relaxation.literal else clamped_terms
        terms: list[Term] = []
        for layer in range(1, self.output + 1):
            terms += free_terms(network, layer)
            terms += clamped(network, layer) if layer < self.output else []
        # A change is up to twice as large as a value.
        largest = max(term.sources * formats.multiplied.maximum * 2 * term.largest for term in terms)
        narrow = np.int32 if largest < 1 << 31 else np.int64
        weights = np.zeros(sum(rows * columns for rows, columns in network.weight_shapes), dtype=np.int16)
        return {
            "weights": weights,
            "multiplied": weights if formats.multiplied == formats.weight else np.zeros_like(weights),
            "sums": np.zeros(weights.size if network.learning.summed else 0, dtype=np.int64),
            "states": np.zeros(neurons, dtype=np.int64),
            "free": np.zeros(neurons, dtype=np.int64),
            "slopes": np.zeros(neurons, dtype=np.int64),
            "deviations": np.zeros(neurons, dtype=np.int64),
            "drives": np.zeros(neurons, dtype=np.int64),
            "terms": np.zeros(network.widths[-1], dtype=np.int64),
            "change": np.zeros(neurons, dtype=narrow),
            "events": np.zeros(neurons, dtype=np.int64),
            "counts": np.zeros(len(network.layers), dtype=np.int64),
            "lane": np.zeros(max(network.widths), dtype=narrow),
            "counters": np.zeros(len(GOLDEN), dtype=np.int64),
        }
