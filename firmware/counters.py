# SPDX-License-Identifier: Apache-2.0
"""The performance counters: their names, order and meaning, for the device, the driver and the golden model."""

from typing import Final

GOLDEN: Final = {
    "trained": "training samples applied",
    "inferred": "samples predicted without learning",
    "zero_error": "training samples whose output error was exactly zero in every element",
    "free_sweeps": "sweeps of all free phases",
    "clamped_sweeps": "sweeps of all clamped phases",
    "changed_states": "neurons whose integer state changed in an activation, over all sweeps",
    "changed_deviations": "neurons whose integer deviation changed, over all sweeps",
    "saturated_pre_activation": "pre-activations clipped",
    "saturated_logit": "logits clipped before the softmax",
    "saturated_error": "output errors clipped",
    "saturated_drive": "drives of deviations clipped before the slope is applied",
    "saturated_deviation": "deviations clipped",
    "saturated_weight": "weights clipped by an update",
}
"""Counters that the golden model defines: equal on every engine with the same skipping of whole phases."""

ENGINE: Final = {
    "cycles": "clock cycles since the counters were cleared",
    "run_cycles": "cycles in which a program ran",
    "forward_issues": "cycles in which a source value was broadcast for a forward pass",
    "transposed_issues": "cycles in which a column was summed over the lanes",
    "update_issues": "cycles in which a source value was broadcast for an update",
    "busy_lane_cycles": "multiplications on rows that exist, summed over the lanes",
    "serial_issues": "cycles in which the activation, deviation or error unit took a neuron",
    "skipped_sources": "source values that zero or unchanged-state skipping left out of forward passes and updates, "
    "counted once per row block",
    "skipped_columns": "columns of transposed passes left out because no row of the block had changed",
    "idle_walk": "cycles of a program without a product, as the values that come next were not yet computed",
    "idle_sums": "the same, as sums of the instruction before still left the lanes",
    "idle_error": "the same, as the output error was computed",
    "idle_drain": "the same, as the last results were on their way",
    "idle_link": "cycles in which nothing came, or a sample was still coming, or an answer was not taken, and no program ran",
}
"""Counters that depend on the lanes and on skipping. An engine of one lane counts no idle cycles."""

IDLE: Final = tuple(name for name in ENGINE if name.startswith("idle_"))
"""Why the lanes were given no product. Cycles of a program that are neither issues nor in one of these fetched and prepared the next."""

LINE: Final = {
    "framing_errors": "characters of the serial line that were dropped as their stop bit was low; the first 65,535 after reset are counted",
    "overruns": "characters of the serial line that were dropped as the one before had not been taken; likewise",
}
"""Counters of a serial line; 0 where there is none."""

NAMES: Final = (*GOLDEN, *ENGINE, *LINE)
"""All counters in the order in which the device returns them; each is 48 bits wide."""
