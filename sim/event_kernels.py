# SPDX-License-Identifier: Apache-2.0
"""The compiled loops of `frenn.sim.compiled`: events only, exact integers, one sample after another.

Importing this module imports numba, and the first call compiles for some seconds; later processes take the result from
numba's cache. Whatever could change with `frenn.firmware.arithmetic` comes in by argument, because that cache notices
changes of this file alone. No loop checks an index or a range: `Golden` has checked them before.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from ..firmware.arithmetic import IntArray

WORD = 0xFFFFFFFF


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on the first call, and keep the result on disk where there is a place for it."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        return numba.njit(nogil=True, error_model="numpy")(function)


class Layers(NamedTuple):
    """What each layer is; arrays of one number per layer unless said otherwise."""

    width: IntArray
    neuron: IntArray
    """First neuron in the flat arrays."""
    bases: IntArray
    """(layers, 16) bases of the activation's segments."""
    slopes: IntArray
    """(layers, 16) slopes of the activation's segments."""
    one_sided: IntArray
    """1 if the activation is zero below zero."""
    free_round: IntArray
    """Right shift of the free drive to the pre-activation (of the output layer: to the logit)."""
    clamped_round: IntArray


class Terms(NamedTuple):
    """The products that enter the drives of one phase, layer after layer; arrays of one number per term."""

    begin: IntArray
    """First term of each layer, and one past the last of all."""
    source: IntArray
    block: IntArray
    transposed: IntArray
    shift: IntArray
    """Left shift of the product."""
    constant: int
    """The layer whose values do not change in the phase."""


class Blocks(NamedTuple):
    """What each weight block is; arrays of one number per block. A block is stored column after column."""

    first: IntArray
    source: IntArray
    target: IntArray
    learns: IntArray
    rows: IntArray
    columns: IntArray
    turned: IntArray
    """Whether a row and not a column has a random word."""
    word: IntArray
    """Number of the first random word."""
    shift: IntArray
    """Right shift of an update."""


class Rules(NamedTuple):
    """Numbers of the whole network."""

    jacobi: bool
    free_sweeps: int
    clamped_sweeps: int
    skip_rest: bool
    skip_right: bool
    batch: int
    """Samples whose updates are summed."""
    nearest: bool
    pre_activation_limit: int
    segment_shift: int
    """Fraction bits of the pre-activation within a segment."""
    base_shift: int
    state_round: int
    state_limit: int
    logit_limit: int
    logit_fraction: int
    term_fraction: int
    index_bits: int
    reciprocal_fraction: int
    error_fraction: int
    drive_limit: int
    deviation_round: int
    deviation_limit: int
    weight_limit: int
    narrow_round: int
    """Bits that the copies of the weights lack."""
    narrow_limit: int
    narrow: bool
    literal: bool
    refreshed: bool
    row_rotation: int
    keys: IntArray
    """Key of each round of the random mixing function."""
    reciprocal: IntArray


class Memory(NamedTuple):
    """What changes. Flat over all layers; ``change`` and ``lane`` are 32 bits wide where every sum fits."""

    weights: NDArray[np.int16]
    multiplied: NDArray[np.int16]
    """The weights as they are multiplied: the same array, or narrower copies."""
    sums: IntArray
    """Of the minibatch's updates, laid out as the weights; empty where updates are not summed."""
    states: IntArray
    free: IntArray
    """The free states of the sample."""
    slopes: IntArray
    deviations: IntArray
    drives: IntArray
    terms: IntArray
    """Logits, then softmax terms, of the output layer."""
    change: NDArray[Any]
    """Last change of each neuron's value; zero where there is none."""
    events: IntArray
    """Numbers within the layer of the neurons that changed last, ``counts`` of them."""
    counts: IntArray
    lane: NDArray[Any]
    """Sums of one product."""
    counters: IntArray
    """In the order of `frenn.firmware.counters.GOLDEN`."""


(
    TRAINED,
    INFERRED,
    ZERO_ERROR,
    FREE_SWEEPS,
    CLAMPED_SWEEPS,
    CHANGED_STATES,
    CHANGED_DEVIATIONS,
    SATURATED_PRE_ACTIVATION,
    SATURATED_LOGIT,
    SATURATED_ERROR,
    SATURATED_DRIVE,
    SATURATED_DEVIATION,
    SATURATED_WEIGHT,
) = range(13)


@_jit
def _round(value: int, shift: int) -> Any:
    return (value + ((np.int64(1) << shift) >> 1)) >> shift


@_jit
def _clip(value: int, limit: int) -> int:
    return min(max(value, -limit), limit)


@_jit
def _set_events(memory: Memory, layers: Layers, layer: int, values: NDArray[Any]) -> None:
    """Make every value that is not zero an event of the layer."""
    first = layers.neuron[layer]
    number = 0
    for index in range(layers.width[layer]):
        value = values[first + index]
        memory.change[first + index] = value
        if value != 0:
            memory.events[first + number] = index
            number += 1
    memory.counts[layer] = number


@_jit
def _add_terms(memory: Memory, layers: Layers, blocks: Blocks, terms: Terms, layer: int, begins: bool) -> None:
    """Add what the changes of its sources bring to a layer's drive; a constant source changes when the phase begins."""
    for term in range(terms.begin[layer], terms.begin[layer + 1]):
        source = terms.source[term]
        if memory.counts[source] == 0 or (source == terms.constant and not begins):
            continue
        if terms.transposed[term]:
            _transposed(memory, layers, blocks.first[terms.block[term]], source, layer, terms.shift[term])
        else:
            _forward(memory, layers, blocks.first[terms.block[term]], source, layer, terms.shift[term])


@_jit
def _forward(memory: Memory, layers: Layers, first: int, source: int, layer: int, shift: int) -> None:
    """Add ``W change << shift`` of the source to a layer's drive."""
    rows = layers.width[layer]
    below = layers.neuron[source]
    events = memory.events[below : below + memory.counts[source]]
    lane = memory.lane[:rows]
    drive = memory.drives[layers.neuron[layer] : layers.neuron[layer] + rows]
    lane[:] = 0
    fours = len(events) // 4 * 4
    # Four columns in one pass: the sums are read and written a quarter as often.
    for k in range(0, fours, 4):
        c0, c1, c2, c3 = events[k], events[k + 1], events[k + 2], events[k + 3]
        v0, v1, v2, v3 = memory.change[below + c0], memory.change[below + c1], memory.change[below + c2], memory.change[below + c3]
        w0 = memory.multiplied[first + c0 * rows : first + c0 * rows + rows]
        w1 = memory.multiplied[first + c1 * rows : first + c1 * rows + rows]
        w2 = memory.multiplied[first + c2 * rows : first + c2 * rows + rows]
        w3 = memory.multiplied[first + c3 * rows : first + c3 * rows + rows]
        for r in range(rows):
            lane[r] += w0[r] * v0 + w1[r] * v1 + w2[r] * v2 + w3[r] * v3
    for k in range(fours, len(events)):
        c0 = events[k]
        v0 = memory.change[below + c0]
        w0 = memory.multiplied[first + c0 * rows : first + c0 * rows + rows]
        for r in range(rows):
            lane[r] += w0[r] * v0
    for r in range(rows):
        drive[r] += np.int64(lane[r]) << shift


@_jit
def _transposed(memory: Memory, layers: Layers, first: int, source: int, layer: int, shift: int) -> None:
    """Add ``W^T change << shift`` of the source to a layer's drive."""
    rows = layers.width[source]
    columns = layers.width[layer]
    above = layers.neuron[source]
    count = memory.counts[source]
    drive = memory.drives[layers.neuron[layer] : layers.neuron[layer] + columns]
    change = memory.change[above : above + rows]
    events = memory.events[above : above + count]
    narrow = memory.lane.dtype.type
    for c in range(columns):
        weights = memory.multiplied[first + c * rows : first + c * rows + rows]
        total = narrow(0)
        # Whole columns run several times as fast per product as picked rows.
        if 8 * count > rows:
            for r in range(rows):
                total = narrow(total + weights[r] * change[r])
        else:
            for k in range(count):
                total = narrow(total + weights[events[k]] * change[events[k]])
        drive[c] += np.int64(total) << shift


@_jit
def _activate(memory: Memory, layers: Layers, rules: Rules, layer: int) -> int:
    """Turn a layer's drive into states, slopes and events."""
    first = layers.neuron[layer]
    shift = layers.free_round[layer]
    number = 0
    saturated = 0
    for index in range(layers.width[layer]):
        n = first + index
        rounded = _round(memory.drives[n], shift)
        value = _clip(rounded, rules.pre_activation_limit)
        saturated += value != rounded
        magnitude = abs(value)
        segment = magnitude >> rules.segment_shift
        within = magnitude & ((np.int64(1) << rules.segment_shift) - 1)
        slope = layers.slopes[layer, segment]
        exact = (layers.bases[layer, segment] << rules.base_shift) + slope * within
        state = min(_round(exact, rules.state_round), rules.state_limit)
        if value < 0:
            if layers.one_sided[layer]:
                state = 0
                slope = 0
            state = -state
        memory.slopes[n] = slope
        change = state - memory.states[n]
        memory.change[n] = change
        memory.states[n] = state
        if change != 0:
            memory.events[first + number] = index
            number += 1
    memory.counts[layer] = number
    memory.counters[CHANGED_STATES] += number
    memory.counters[SATURATED_PRE_ACTIVATION] += saturated
    return number


@_jit
def _deviate(memory: Memory, layers: Layers, rules: Rules, layer: int) -> int:
    """Turn a layer's drive into deviations and events."""
    first = layers.neuron[layer]
    shift = layers.clamped_round[layer]
    number = 0
    for index in range(layers.width[layer]):
        n = first + index
        rounded = _round(memory.drives[n], shift)
        value = _clip(rounded, rules.drive_limit)
        memory.counters[SATURATED_DRIVE] += value != rounded
        exact = _round(value * memory.slopes[n], rules.deviation_round)
        deviation = _clip(exact, rules.deviation_limit)
        memory.counters[SATURATED_DEVIATION] += deviation != exact
        change = deviation - memory.deviations[n]
        memory.change[n] = change
        memory.deviations[n] = deviation
        if change != 0:
            memory.events[first + number] = index
            number += 1
    memory.counts[layer] = number
    memory.counters[CHANGED_DEVIATIONS] += number
    return number


@_jit
def _free_phase(memory: Memory, layers: Layers, blocks: Blocks, terms: Terms, rules: Rules, sample: IntArray) -> Any:
    """Relax the states of a sample; returns the prediction and leaves the output's drive."""
    output = len(layers.width) - 1
    memory.states[: layers.width[0]] = sample
    memory.states[layers.width[0] :] = 0
    memory.drives[:] = 0
    memory.counts[:] = 0
    memory.change[:] = 0
    for sweep in range(rules.free_sweeps):
        memory.counters[FREE_SWEEPS] += 1
        if sweep == 0:
            _set_events(memory, layers, 0, memory.states)
        changed = 0
        for layer in range(1, output):
            _add_terms(memory, layers, blocks, terms, layer, sweep == 0)
            if not rules.jacobi:
                changed += _activate(memory, layers, rules, layer)
        if rules.jacobi:
            for layer in range(1, output):
                changed += _activate(memory, layers, rules, layer)
        if sweep > 0 and changed == 0 and rules.skip_rest:
            break
    for layer in range(1, output):
        _set_events(memory, layers, layer, memory.states)
    _add_terms(memory, layers, blocks, terms, output, True)
    memory.free[:] = memory.states
    return np.argmax(memory.drives[layers.neuron[output] :])


@_jit
def _output_error(memory: Memory, layers: Layers, rules: Rules, label: int) -> bool:
    """Leave the output error; returns whether any element is not zero."""
    output = len(layers.width) - 1
    first = layers.neuron[output]
    logits = memory.terms
    top = -rules.logit_limit
    for index in range(len(logits)):
        rounded = _round(memory.drives[first + index], layers.free_round[output])
        logits[index] = _clip(rounded, rules.logit_limit)
        memory.counters[SATURATED_LOGIT] += logits[index] != rounded
        top = max(top, logits[index])
    total = 0
    one = np.int64(1) << rules.logit_fraction
    for index in range(len(logits)):
        distance = logits[index] - top
        mantissa = (one + (distance & (one - 1))) << (rules.term_fraction - rules.logit_fraction)
        exponent = min(-(distance >> rules.logit_fraction), rules.term_fraction + 2)
        logits[index] = _round(mantissa, exponent)
        total += logits[index]
    exponent = -1
    while total >> (exponent + 1):
        exponent += 1
    inverse = rules.reciprocal[(total >> (exponent - rules.index_bits)) & ((1 << rules.index_bits) - 1)]
    wrong = False
    limit = (np.int64(1) << rules.error_fraction) - 1
    for index in range(len(logits)):
        error = -_round(logits[index] * inverse, rules.reciprocal_fraction + exponent - rules.error_fraction)
        if index == label:
            error += limit + 1
        clipped = _clip(error, limit)
        memory.counters[SATURATED_ERROR] += clipped != error
        memory.deviations[first + index] = clipped
        wrong |= clipped != 0
    return wrong


@_jit
def _literal_phase(memory: Memory, layers: Layers, blocks: Blocks, free: Terms, nudged: Terms, rules: Rules, label: int) -> None:
    """Relax the states on under the nudge, and leave their differences from the free ones as deviations."""
    output = len(layers.width) - 1
    errors = memory.deviations[layers.neuron[output] :]
    # The drives of the hidden layers, anew from all the free states: what had not reached them yet is in them then.
    memory.drives[: layers.neuron[output]] = 0
    for layer in range(output):
        _set_events(memory, layers, layer, memory.states)
    memory.counts[output] = 0
    for layer in range(1, output):
        _add_terms(memory, layers, blocks, nudged, layer, True)
    memory.counts[:] = 0
    before = np.zeros_like(errors)
    for sweep in range(rules.clamped_sweeps):
        memory.counters[CLAMPED_SWEEPS] += 1
        if sweep > 0 and rules.refreshed:
            before[:] = errors
            _add_terms(memory, layers, blocks, free, output, False)
            _output_error(memory, layers, rules, label)
        news = sweep == 0 or rules.refreshed
        if news:
            errors -= before
            _set_events(memory, layers, output, memory.deviations)
            errors += before
        changed = 0
        for layer in range(1, output):
            _add_terms(memory, layers, blocks, nudged, layer, news)
            if not rules.jacobi:
                changed += _activate(memory, layers, rules, layer)
        if rules.jacobi:
            for layer in range(1, output):
                changed += _activate(memory, layers, rules, layer)
        if sweep > 0 and changed == 0 and rules.skip_rest:
            break
    for neuron in range(layers.neuron[1], layers.neuron[output]):
        memory.deviations[neuron] = memory.states[neuron] - memory.free[neuron]


@_jit
def _clamped_phase(memory: Memory, layers: Layers, blocks: Blocks, terms: Terms, rules: Rules) -> None:
    """Relax the deviations."""
    output = len(layers.width) - 1
    memory.deviations[: layers.neuron[output]] = 0
    memory.drives[:] = 0
    memory.counts[:] = 0
    memory.change[:] = 0
    for sweep in range(rules.clamped_sweeps):
        memory.counters[CLAMPED_SWEEPS] += 1
        if sweep == 0:
            _set_events(memory, layers, output, memory.deviations)
        changed = 0
        for layer in range(output - 1, 0, -1):
            _add_terms(memory, layers, blocks, terms, layer, sweep == 0)
            if not rules.jacobi:
                changed += _deviate(memory, layers, rules, layer)
        if rules.jacobi:
            for layer in range(output - 1, 0, -1):
                changed += _deviate(memory, layers, rules, layer)
        if sweep > 0 and changed == 0 and rules.skip_rest:
            break


@_jit
def _turn(word: int, by: int) -> int:
    return ((word << by) | (word >> (32 - by))) & WORD


@_jit
def _mix(rules: Rules, step: int, column: int) -> Any:
    a = np.int64(column)
    b = np.int64(step)
    for key in rules.keys:
        a = ((_turn(a, 24) + b) & WORD) ^ key
        b = _turn(b, 3) ^ a
    return a


@_jit
def _words(rules: Rules, blocks: Blocks, block: int, step: int, rows: IntArray) -> Any:
    """The random words of rows, where each of them has one and not the columns."""
    words = np.zeros(len(rows), dtype=np.int64)
    if blocks.turned[block] and not rules.nearest:
        for place, row in enumerate(rows):
            words[place] = _mix(rules, step, blocks.word[block] + row)
    return words


@_jit
def _noise(rules: Rules, word: int, place: int, shift: int) -> Any:
    if rules.nearest:
        return (np.int64(1) << shift) >> 1
    return _turn(word, rules.row_rotation * place & 31) >> (32 - shift)


@_jit
def _move(memory: Memory, rules: Rules, place: int, total: int, noise: int, shift: int) -> None:
    """Move one weight by the sum of its products."""
    exact = memory.weights[place] + ((total + noise) >> shift)
    learned = _clip(exact, rules.weight_limit)
    memory.counters[SATURATED_WEIGHT] += learned != exact
    memory.weights[place] = learned
    if rules.narrow:
        memory.multiplied[place] = _clip(_round(learned, rules.narrow_round), rules.narrow_limit)


@_jit
def _update(memory: Memory, layers: Layers, blocks: Blocks, rules: Rules, step: int) -> None:
    """Learn, or add to the minibatch's sums, where neither the deviation nor the state is zero: the other weights do not move."""
    for block in range(len(blocks.rows)):
        if not blocks.learns[block]:
            continue
        rows = blocks.rows[block]
        target = blocks.target[block]
        _set_events(memory, layers, target, memory.deviations)
        first = layers.neuron[target]
        events = memory.events[first : first + memory.counts[target]]
        deviations = memory.deviations[first : first + rows]
        if len(events) == 0:
            continue
        source = layers.neuron[blocks.source[block]]
        shift, turned = blocks.shift[block], blocks.turned[block]
        words = _words(rules, blocks, block, step, events)
        for column in range(blocks.columns[block]):
            state = memory.free[source + column]
            if state == 0:
                continue
            start = blocks.first[block] + column * rows
            if rules.batch > 1:
                for row in events:
                    memory.sums[start + row] += deviations[row] * state
                continue
            if turned:
                for place, row in enumerate(events):
                    _move(memory, rules, start + row, deviations[row] * state, _noise(rules, words[place], column, shift), shift)
                continue
            word = 0 if rules.nearest else _mix(rules, step, blocks.word[block] + column)
            for row in events:
                _move(memory, rules, start + row, deviations[row] * state, _noise(rules, word, row, shift), shift)


@_jit
def _apply(memory: Memory, blocks: Blocks, rules: Rules, step: int) -> None:
    """Learn from the minibatch's sums, and leave them zero: a weight whose sum is zero does not move."""
    for block in range(len(blocks.rows)):
        if not blocks.learns[block]:
            continue
        rows = blocks.rows[block]
        shift, turned = blocks.shift[block], blocks.turned[block]
        words = _words(rules, blocks, block, step, np.arange(rows))
        for column in range(blocks.columns[block]):
            start = blocks.first[block] + column * rows
            sums = memory.sums[start : start + rows]
            if not sums.any():
                continue
            word = 0 if turned or rules.nearest else _mix(rules, step, blocks.word[block] + column)
            for row in range(rows):
                if sums[row] != 0:
                    noise = _noise(rules, words[row], column, shift) if turned else _noise(rules, word, row, shift)
                    _move(memory, rules, start + row, sums[row], noise, shift)
            sums[:] = 0


@_jit
def train(
    memory: Memory,
    layers: Layers,
    blocks: Blocks,
    free: Terms,
    clamped: Terms,
    rules: Rules,
    inputs: IntArray,
    labels: IntArray,
    step: int,
    predictions: IntArray,
    wrong: NDArray[np.bool_],
) -> None:
    """Learn samples; see `frenn.sim.golden.Golden.train`."""
    for index in range(len(inputs)):
        predictions[index] = _free_phase(memory, layers, blocks, free, rules, inputs[index])
        wrong[index] = _output_error(memory, layers, rules, labels[index])
        if wrong[index] or not rules.skip_right:
            if rules.literal:
                # The output's block learns from the error of the free state.
                errors = memory.deviations[layers.neuron[-1] :]
                held = errors.copy()
                _literal_phase(memory, layers, blocks, free, clamped, rules, labels[index])
                last = errors.copy()
                errors[:] = held
                _update(memory, layers, blocks, rules, step + index)
                errors[:] = last
            else:
                _clamped_phase(memory, layers, blocks, clamped, rules)
                _update(memory, layers, blocks, rules, step + index)
        if rules.batch > 1 and ((index + 1) % rules.batch == 0 or index + 1 == len(inputs)):
            _apply(memory, blocks, rules, step + index)
        memory.counters[ZERO_ERROR] += not wrong[index]
        memory.counters[TRAINED] += 1


@_jit
def infer(memory: Memory, layers: Layers, blocks: Blocks, free: Terms, rules: Rules, inputs: IntArray, predictions: IntArray) -> None:
    """Predict samples; see `frenn.sim.golden.Golden.infer`."""
    for index in range(len(inputs)):
        predictions[index] = _free_phase(memory, layers, blocks, free, rules, inputs[index])
        memory.counters[INFERRED] += 1
