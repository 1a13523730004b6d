# SPDX-License-Identifier: Apache-2.0
"""Bench of `Link`: when it asks for frames again, against its model and by hand."""

import random
from typing import Any

import cocotb

from ...firmware.framing import FLAG, MAX_CREDIT, SEQUENCES, Deframer, Header, Kind, encode
from ...rtl_gen.link import Link
from .link_bench import DAMAGE, PARAMETERS, SESSION, LinkBench, frame_of, torn
from .link_lines import words_of


@cocotb.test(skip=bool(DAMAGE))
async def a_torn_frame_is_asked_for_at_once(dut: Any) -> None:
    """Behind it comes a frame that tells of no gap, or the beginning of one."""
    bench = LinkBench(dut, device=False)
    await bench.start()
    await bench.open()

    def data(sequence: int, session: int = SESSION) -> bytes:
        return frame_of(Kind.DATA | Kind.LAST, sequence, payload=(sequence,), session=session)

    async def asked(*frames: bytes) -> list[int]:
        """The numbers from which on the host is to send again."""
        bench.rx.send(b"".join(frames))
        await bench.rx.drain()
        await bench.cycles(30)
        return [header.acknowledge for header, _ in bench.sent() if header.kind & Kind.REPEAT]

    bare = frame_of(Kind(0))
    assert await asked(torn(data(0)), bare[:1]) == []
    assert await asked(bare[1:]) == [0]
    assert await asked(bare, bare) == []
    # What was under way behind it is no gap that is not known.
    assert await asked(torn(data(0)), data(1), data(2)) == [0]
    assert await asked(torn(data(0)), data(1)[:10]) == [0]
    assert await asked(data(1)[10:]) == []
    assert await asked(data(0)) == []
    # Another number, another session, no payload, a frame of which no word has come: nothing says that it was the expected one.
    for other in (data(2), data(0), data(1, SESSION + 1), frame_of(Kind.LAST, 1, payload=(1,))):
        assert await asked(torn(other), bare) == []
    assert await asked(torn(bare), bare, FLAG.to_bytes() + bytes(8) + FLAG.to_bytes(), bare) == []
    assert [item & 0xFFFFFFFF for item in bench.request.queue] == [0]


@cocotb.test(skip=bool(DAMAGE))
async def repeats_are_the_models(dut: Any) -> None:
    """Good, torn and foreign frames in any order: the host is asked for the same frames, in the same steps, as by the model."""
    bench = LinkBench(dut, device=False)
    await bench.start()
    await bench.open()
    model = Link.model(PARAMETERS)
    deframer = Deframer()
    model.feed(encode(Header(Kind.OPEN, SESSION, credit=MAX_CREDIT).pack()), bench.cycle)
    deframer.feed(model.output(bench.cycle))
    asked = 0
    for step in range(400):
        number = model.statistics.data_received
        sequence = number + random.choice((0, 0, 0, 0, 0, 1, 1, 2, 3, -1))
        kind = random.choice((Kind.DATA | Kind.LAST, Kind.DATA | Kind.LAST, Kind.DATA | Kind.LAST, Kind(0), Kind.POLL))
        payload = tuple(words_of(random, random.randint(1, 3))) if kind & Kind.DATA else ()
        text = frame_of(kind, sequence % SEQUENCES, 0, payload, SESSION + (random.random() < 0.1))
        match random.randrange(6):
            case 0 | 1:
                text = torn(text)
            case 2:
                place = random.randrange(1, len(text) - 8)
                text = text[:place] + text[place + random.randrange(1, 8) :]
        bench.rx.send(text)
        await bench.rx.drain()
        await bench.cycles(30)
        bench.request.queue.clear()
        model.feed(text, bench.cycle)
        contents = [*deframer.feed(model.output(bench.cycle))]
        expected = any(Header.unpack(content).kind & Kind.REPEAT for content in contents)
        found = [header.acknowledge for header, _ in bench.sent() if header.kind & Kind.REPEAT]
        # The model asks when the frame behind a bad one has been taken; and two reasons to ask, in one frame, may be one.
        assert set(found) == ({number % SEQUENCES} if expected else set()), f"step {step}: {text.hex()}"
        asked += expected
    dut._log.info(f"{asked} times asked, {model.statistics}")
    assert asked >= 50 and model.statistics.data_received >= 20
