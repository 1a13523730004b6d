# SPDX-License-Identifier: Apache-2.0
"""The compiler: memory map, programs, and what does not fit."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from frenn.firmware.compiler import Program, check_trains, compile_network, requirements
from frenn.firmware.errors import FitError, FrennError
from frenn.firmware.formats import Format
from frenn.firmware.graph import Term, clamped_terms, drive_fraction, free_terms, update_fractions
from frenn.firmware.isa import Instruction, Op
from frenn.firmware.network import Edge, Formats, Layer, Learning, Network, Relaxation
from frenn.firmware.parameters import PRESETS, RANGES, EngineParameters

NETWORK = Network.chain([13, 9, 6, 3])


def random_network(rng: np.random.Generator) -> Network:
    widths = [int(width) for width in rng.integers(1, 41, int(rng.integers(3, 7)))]
    widths[-1] += 1
    formats = Formats(
        input=Format(False, 0, int(rng.integers(1, 13))),
        state=Format(True, 0, int(rng.integers(4, 13))),
        weight=Format(True, int(rng.integers(0, 2)), int(rng.integers(5, 12))),
        deviation=Format(True, int(rng.integers(0, 4)), int(rng.integers(4, 11))),
        error=Format(True, 0, int(rng.integers(6, 13))),
        pre_activation=Format(True, 2, int(rng.integers(7, 13))),
        drive=Format(True, int(rng.integers(2, 6)), int(rng.integers(7, 13))),
    )
    return Network.chain(
        widths,
        feedback_exponent=int(rng.integers(-9, 1)),
        formats=formats,
        relaxation=Relaxation(str(rng.choice(["sequential", "jacobi"])), int(rng.integers(1, 6)), int(rng.integers(1, 6))),
        learning=Learning(rate_exponent=int(rng.integers(-12, -6)), halve_every=2, epochs=int(rng.integers(1, 7))),
    )


def test_memory_map() -> None:
    program = compile_network(NETWORK, EngineParameters.for_network(NETWORK, 4))
    assert [(layer.neuron, layer.row, layer.width) for layer in program.layers] == [(0, 0, 13), (13, 0, 9), (22, 3, 6), (28, 5, 3)]
    # Blocks of ceil(rows / 4) x columns addresses: 3 x 13, 2 x 9, 2 x 3. The output's has a row for each neuron of its source.
    assert [(block.weights, block.rows, block.columns, block.column) for block in program.blocks] == [
        (0, 9, 13, 0),
        (39, 6, 9, 13),
        (57, 6, 3, 22),
    ]
    assert program.weight_words == 63


def test_weights_lie_where_the_lanes_look() -> None:
    program = compile_network(NETWORK, EngineParameters.for_network(NETWORK, 4))
    weights = NETWORK.initial_weights()
    image = program.pack(weights)
    assert (image.shape, image.dtype) == ((63, 4), np.int16)
    assert [block.by_source for block in program.blocks] == [False, False, True]
    for block, values in zip(program.blocks, [*weights[:2], weights[2].T], strict=True):
        for row in range(-(-block.rows // 4) * 4):
            for column in range(block.columns):
                value = values[row, column] if row < block.rows else 0
                assert image[block.weights + row // 4 * block.columns + column, row % 4] == value


def test_pack_round_trip(rng: np.random.Generator) -> None:
    for _ in range(20):
        network = random_network(rng)
        program = compile_network(network, EngineParameters.for_network(network, int(rng.choice([4, 8, 16, 64]))))
        limit = network.formats.weight.maximum
        weights = [rng.integers(-limit, limit + 1, shape) for shape in network.weight_shapes]
        for block, again in zip(weights, program.unpack(program.pack(weights)), strict=True):
            np.testing.assert_array_equal(again, block)
            assert again.dtype == np.int64


def test_pack_refuses() -> None:
    program = compile_network(NETWORK, EngineParameters.for_network(NETWORK, 4))
    weights = NETWORK.initial_weights()
    weights[1][2, 3] = 2048
    with pytest.raises(FitError, match=r"weights of hidden1->hidden2 do not fit S0\.11: 2048 > 2047"):
        program.pack(weights)
    weights[1] = weights[1].T
    with pytest.raises(FitError, match=r"weights of hidden1->hidden2 have shape \(9, 6\), not \(6, 9\)"):
        program.pack(weights)


@pytest.mark.parametrize("schedule", ["sequential", "jacobi"])
def test_programs(schedule: str) -> None:
    network = dataclasses.replace(NETWORK, relaxation=Relaxation(schedule, 3, 2))
    program = compile_network(network, EngineParameters.for_network(network, 4))
    train, infer = program.instructions[: program.infer_entry], program.instructions[program.infer_entry :]
    for part in (train, infer):
        assert part[-1].op == Op.END and sum(item.op == Op.END for item in part) == 1
        assert sum(item.op == Op.LOOP for item in part) == sum(item.op == Op.NEXT for item in part)
    counts = Counter(item.op for item in train)
    # Both phases have a first sweep and a loop of the rest; each of the two hidden layers is activated in both.
    assert (counts[Op.SWEEP], counts[Op.LOOP], counts[Op.ACTIVATE], counts[Op.DEVIATE]) == (4, 2, 4, 4)
    assert (counts[Op.ERROR], counts[Op.STOP_IF_RIGHT], counts[Op.UPDATE]) == (1, 1, 3)
    assert [item.count for item in train if item.op == Op.LOOP] == [2, 1]
    assert [item.op for item in infer].count(Op.PREDICT) == 1 and not {Op.UPDATE, Op.ERROR, Op.DEVIATE} & {item.op for item in infer}
    assert [item.first for item in train if item.op == Op.ACTIVATE] == [1, 1, 0, 0]


def test_one_sweep_has_no_loop() -> None:
    network = dataclasses.replace(NETWORK, relaxation=Relaxation("sequential", 1, 1))
    program = compile_network(network, EngineParameters.for_network(network, 4))
    assert not {Op.LOOP, Op.NEXT} & {item.op for item in program.instructions}


def test_update_shift_holds_every_rate() -> None:
    network = dataclasses.replace(NETWORK, learning=Learning(rate_exponent=-5, halve_every=2, epochs=6))
    parameters = EngineParameters.for_network(network, 4)
    program = compile_network(network, parameters)
    # D and s of 8 fraction bits against a weight of 11: 5 bits finer at rate 1, and 12 at the last rate, 2^-7.
    assert parameters.update_shift == 12
    assert {item.shift for item in program.instructions if item.op == Op.UPDATE} == {7}


def test_minibatches_of_the_chip_are_compiled_to_predict_and_refused_to_train() -> None:
    network = dataclasses.replace(NETWORK, learning=Learning(batch=8))
    with pytest.raises(FitError, match=r"sums over batches of 8 samples.*--on golden alone, or with batch = 1 or update = \"host\""):
        check_trains(network)
    parameters = EngineParameters.for_network(NETWORK, 4)
    check_trains(NETWORK)
    program, whole = (compile_network(some, parameters) for some in (network, NETWORK))
    assert [item for item in whole.instructions if item.op != Op.UPDATE] == [*program.instructions]
    check_trains(dataclasses.replace(NETWORK, learning=Learning(update="host", batch=8)))


def test_one_lane_computes_no_literal_form() -> None:
    network = dataclasses.replace(NETWORK, relaxation=dataclasses.replace(NETWORK.relaxation, clamped="literal"))
    compile_network(network, EngineParameters.for_network(network, 4))
    parameters = EngineParameters.for_network(NETWORK, 1)
    compile_network(NETWORK, parameters)
    with pytest.raises(FitError, match=r'relaxation\.clamped is "literal", which an engine of one lane does not compute'):
        compile_network(network, parameters)


def test_requirements_suffice_and_none_is_too_large(rng: np.random.Generator) -> None:
    for _ in range(40):
        network, lanes = random_network(rng), int(rng.choice([1, 4, 16, 64]))
        parameters = EngineParameters.for_network(network, lanes)
        assert requirements(network, lanes) == {item.name: getattr(parameters, item.name) for item in dataclasses.fields(parameters)}
        compile_network(network, parameters)
        for name, (low, _) in RANGES.items():
            value = getattr(parameters, name)
            if name == "lanes":
                continue
            depth = name.endswith("_depth")
            less = value // 2 if depth else value - 1
            if less < (8 if depth else low) or (name == "broadcast_bits" and less <= parameters.vector_bits):
                continue
            with pytest.raises(FitError, match=f"{name} must be "):
                compile_network(network, dataclasses.replace(parameters, **{name: less}))


def test_misfits_say_by_how_much() -> None:
    parameters = EngineParameters(lanes=4, weight_depth=60, neuron_depth=30, row_depth=5, program_depth=16, vector_bits=8, update_shift=10)
    with pytest.raises(FitError) as caught:
        compile_network(NETWORK, parameters)
    message = str(caught.value)
    for part in (
        "network 'network' does not fit the engine: ",
        "weight_depth must be 63, the engine has 60 (3 too few)",
        "neuron_depth must be 31, the engine has 30 (1 too few)",
        "row_depth must be 8, the engine has 5 (3 too few)",
        "vector_bits must be 10, the engine has 8 (2 too few)",
        "update_shift must be 13, the engine has 10 (3 too few)",
    ):
        assert part in message
    assert "program_depth must be " in message and "\n" not in message


def test_built_in_formats_must_agree() -> None:
    for name, text in (("weight", "S0.9"), ("pre_activation", "S2.9"), ("drive", "S5.11")):
        network = dataclasses.replace(NETWORK, formats=dataclasses.replace(Formats(), **{name: Format.parse(text)}))
        with pytest.raises(FitError, match=rf"formats\.{name} is {text}, the engine is built for {getattr(Formats(), name)}"):
            compile_network(network, EngineParameters())


def test_rate_too_large_for_the_formats() -> None:
    coarse = Formats(input=Format.parse("U0.2"), state=Format.parse("S0.2"))
    network = dataclasses.replace(NETWORK, formats=coarse, learning=Learning(rate_exponent=0))
    with pytest.raises(FitError, match=r"a learning rate of 2\^0 moves a weight"):
        requirements(network, 4)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([4095, 4095, 4095, 10], r"fits no engine of 4 lanes: weight_depth must be 8396800, the most is 1048576 \(7348224 too few\)"),
        ([16] * 4097 + [2], "has 4098 layers, and no engine runs more than 256"),
        ([4095] + [65] * 250 + [4095], r"row_depth must be 5291, the most is 4096 \(1195 too few\)"),
    ],
)
def test_networks_beyond_every_engine(widths: list[int], message: str) -> None:
    for parameters in (lambda network: EngineParameters.for_network(network, 4), lambda network: EngineParameters(lanes=4)):
        network = Network.chain(widths)
        with pytest.raises(FitError, match=message):
            compile_network(network, parameters(network))


@pytest.mark.parametrize(("name", "widths"), [("small", [64, 64, 64, 10]), ("large", [784, 256, 256, 10]), ("tiny", [16, 16, 16, 4])])
def test_presets_run_what_they_are_for(name: str, widths: list[int]) -> None:
    compile_network(Network.chain(widths), PRESETS[name])


def test_parameters_round_trip(rng: np.random.Generator) -> None:
    parameters = EngineParameters.for_network(random_network(rng), 8)
    assert EngineParameters.from_dict(parameters.to_dict()) == parameters
    table = parameters.to_dict()
    del table["lanes"]
    with pytest.raises(FrennError, match="engine: keys are "):
        EngineParameters.from_dict(table)


def test_parameters_have_fingerprints() -> None:
    prints = {parameters.fingerprint for parameters in PRESETS.values()}
    assert len(prints) == len(PRESETS) and all(0 <= item < 1 << 64 for item in prints)
    assert EngineParameters().fingerprint == EngineParameters(lanes=16).fingerprint
    assert EngineParameters().fingerprint != EngineParameters(program_depth=65).fingerprint


@pytest.mark.parametrize(
    ("values", "message"),
    [
        *(
            ({name: high + 1}, f"engine: {name} is {high + 1}; legal is an integer from {low} to {high}")
            for name, (low, high) in RANGES.items()
        ),
        ({"lanes": 0}, "engine: lanes is 0; legal is an integer from 1 to 128"),
        ({"lanes": 6}, "engine: lanes is 6; legal is 1, or a multiple of 4"),
        ({"lanes": True}, "engine: lanes is True; legal is an integer from 1 to 128"),
        ({"lanes": 4.0}, "engine: lanes is 4.0; legal is an integer from 1 to 128"),
        ({"broadcast_bits": 10}, "engine: broadcast_bits is 10; legal is more than vector_bits, 10"),
        ({"weight": Format(False, 0, 8)}, "engine: weight is U0.8; legal is a signed format of 2 to 16 bits"),
        ({"weight": Format(True, 0, 16)}, "engine: weight is S0.16; legal is a signed format of 2 to 16 bits"),
        ({"pre_activation": Format(True, 3, 8)}, "engine: pre_activation is S3.8; legal is S2.2 to S2.24"),
        ({"drive": Format(True, 15, 16)}, "engine: drive is S15.16; legal is a signed format of at most 31 bits"),
    ],
)
def test_wrong_parameters(values: dict[str, object], message: str) -> None:
    with pytest.raises(FrennError) as caught:
        EngineParameters(**values)  # type: ignore[arg-type]
    assert str(caught.value) == message


def steps(program: Sequence[Instruction]) -> Iterator[Instruction]:
    """The instructions as they run when no sweep comes to rest."""
    position, count, begin = 0, 0, 0
    while program[position].op != Op.END:
        item = program[position]
        position += 1
        if item.op == Op.LOOP:
            count, begin = item.count, position
        elif item.op == Op.NEXT:
            count -= 1
            position = begin if count else position
        else:
            yield item


def dense(network: Network, terms: list[Term], weights: list[np.ndarray], values: list[np.ndarray]) -> np.ndarray:
    fraction = drive_fraction(network, terms)
    return sum((weights[t.block].T if t.transposed else weights[t.block]) @ values[t.source] << fraction - t.fraction for t in terms)


def interpret(program: Program, instructions: Sequence[Instruction], rng: np.random.Generator) -> Counter[Op]:
    """Run a program on changes alone, with random values in the place of every result.

    Wherever a drive is used it must be the dense sum over what the layers hold, so each change has been added exactly once to each
    drive that it enters; and nothing is added that is not used.
    """
    network = program.network
    output = len(network.layers) - 1
    weights = [rng.integers(-9, 10, shape) for shape in network.weight_shapes]
    stored = [block.turn(values) for block, values in zip(program.blocks, weights, strict=True)]
    by_address = {block.weights: number for number, block in enumerate(program.blocks)}
    layer_at = {layer.neuron: number for number, layer in enumerate(program.layers)}

    def zeros() -> list[np.ndarray]:
        return [np.zeros(width, dtype=np.int64) for width in network.widths]

    states, deviations, drives, changes = zeros(), zeros(), zeros(), zeros()
    # What the layers held when the sweep began, which is what all drives of a jacobi sweep are made of.
    held = zeros()
    states[0] = changes[0] = rng.integers(0, 9, network.widths[0])
    jacobi = network.relaxation.schedule == "jacobi"
    fresh: set[int] = set()
    # By the address of a layer's first row block: the changes and the values that its rows keep.
    rows_at: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    done: Counter[Op] = Counter()

    for item in steps(instructions):
        done[item.op] += 1
        layer = layer_at[item.target]
        if item.op == Op.SWEEP:
            held = [values.copy() for values in (deviations if item.kind else states)]
            if done[item.op] == 1:
                held = zeros()
                held[0] = states[0]
        elif item.op in (Op.FORWARD, Op.TRANSPOSED):
            if item.first:
                drives[layer] = np.zeros_like(drives[layer])
            fresh.add(layer)
            if item.columns == 0:
                assert item.first and item.rows == network.widths[layer]
                continue
            source = layer_at[item.source]
            assert source == item.node
            block = stored[by_address[item.weights]]
            assert block.shape == (item.rows, item.columns)
            changed, whole = changes[source], states[source]
            if item.op == Op.TRANSPOSED:
                block, (changed, whole) = block.T, rows_at[item.row]
                np.testing.assert_array_equal(changed, changes[source])
            drives[layer] += block @ (whole if item.full else changed) << item.shift
        elif item.op in (Op.ACTIVATE, Op.DEVIATE):
            assert item.node == layer and item.rows == network.widths[layer]
            values, terms = (states, free_terms) if item.op == Op.ACTIVATE else (deviations, clamped_terms)
            if item.first:
                values[layer] = np.zeros_like(values[layer])
            known = held if jacobi else values
            if item.op == Op.DEVIATE:
                known = [*known[:output], deviations[output]]
            np.testing.assert_array_equal(drives[layer], dense(network, terms(network, layer), weights, known), f"{item}")
            new = np.where(rng.random(len(values[layer])) < 0.5, values[layer], rng.integers(-9, 10, len(values[layer])))
            changes[layer], values[layer] = new - values[layer], new
            rows_at[item.row] = changes[layer], new
            fresh.discard(layer)
        elif item.op in (Op.ERROR, Op.PREDICT):
            assert layer == output and item.rows == network.widths[output]
            np.testing.assert_array_equal(drives[output], dense(network, free_terms(network, output), weights, states))
            deviations[output] = changes[output] = rng.integers(-9, 10, network.widths[output])
            rows_at[item.row] = changes[output], deviations[output]
            # The clamped phase begins from zero.
            deviations[:output] = zeros()[:output]
            held = zeros()
            fresh.discard(output)
        elif item.op == Op.UPDATE:
            block = by_address[item.weights]
            source, target = network.ends[block]
            place = program.blocks[block]
            assert (item.rows, item.columns, item.column) == (place.rows, place.columns, place.column)
            columns, rows, learned = (source, target, deviations) if not place.by_source else (target, source, states)
            assert (item.source, item.node) == (program.layers[columns].neuron, columns)
            np.testing.assert_array_equal(rows_at[item.row][1], learned[rows])
            if place.by_source:
                np.testing.assert_array_equal(changes[target], deviations[target])
            assert item.full == (source > 0 and not place.by_source)
            assert item.kind == place.by_source
            done[Op.UPDATE, block] += 1  # type: ignore[index]
    assert not fresh
    # Rows of two layers, or of a layer's states and deviations, never share a block.
    used = [row for first, (_, values) in rows_at.items() for row in range(first, first - (-len(values) // program.parameters.lanes))]
    assert len(used) == len(set(used)) and max(used) < program.parameters.row_depth
    return done


@pytest.mark.parametrize("schedule", ["sequential", "jacobi"])
def test_programs_of_graphs_add_every_change_once(
    rng: np.random.Generator, schedule: str, draw_edges: Callable[[np.random.Generator, Sequence[str]], tuple[Edge, ...]]
) -> None:
    compiled = 0
    for _ in range(60):
        layers = tuple(Layer(f"layer{number}", int(rng.integers(2, 12))) for number in range(rng.integers(3, 7)))
        network = Network(
            "random",
            layers,
            draw_edges(rng, [layer.name for layer in layers]),
            relaxation=Relaxation(schedule, int(rng.integers(1, 5)), int(rng.integers(1, 5))),
        )
        try:
            program = compile_network(network, EngineParameters.for_network(network, 4))
        except FrennError:
            # Scales so far apart that no engine has the bits.
            continue
        compiled += 1
        train, infer = program.instructions[: program.infer_entry], program.instructions[program.infer_entry :]
        hidden, sweeps = len(layers) - 2, network.relaxation
        done = interpret(program, train, rng)
        assert (done[Op.ACTIVATE], done[Op.DEVIATE]) == (hidden * sweeps.free_sweeps, hidden * sweeps.clamped_sweeps)
        assert done[Op.SWEEP] == sweeps.free_sweeps + sweeps.clamped_sweeps
        assert [done[Op.UPDATE, block] for block in range(len(network.edges))] == [int(edge.learns) for edge in network.edges]  # type: ignore[index]
        assert set(update_fractions(network)) == {block for block, edge in enumerate(network.edges) if edge.learns}
        done = interpret(program, infer, rng)
        assert (done[Op.ACTIVATE], done[Op.PREDICT], done[Op.UPDATE]) == (hidden * sweeps.free_sweeps, 1, 0)
    assert compiled > 20
