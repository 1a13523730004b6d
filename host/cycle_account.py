# SPDX-License-Identifier: Apache-2.0
"""Where the cycles of a training sample go, as ``frenn check --cycles`` prints it."""

from collections.abc import Iterator, Mapping

from ..firmware.compiler import Program
from ..firmware.errors import FrennError
from ..firmware.isa import Op
from ..rtl_gen.cycles import IDLE_KINDS, Account, dense_account

WORK = {Op.FORWARD: "forward", Op.TRANSPOSED: "transposed", Op.UPDATE: "update"}


def counted_account(counters: Mapping[str, int]) -> dict[str, int]:
    """Where the cycles that a device counted went, by `WORK`, by `IDLE_KINDS` and by what lies between programs.

    Parameters
    ----------
    counters : mapping of str to int
        By the names of `frenn.firmware.counters.NAMES`, of an engine of more than one lane.

    Returns
    -------
    dict of str to int
        Cycles; all together are ``counters["cycles"]``. ``link``: nothing came, or a sample was still coming. ``between``: a program
        was started, or its answer given. What is idle within a program is named as the model names it, see `Account`.
    """
    found = {name: counters[f"{name}_issues"] for name in WORK.values()}
    found |= {name: counters[f"idle_{name}"] for name in IDLE_KINDS if name != "sequencing"}
    found["sequencing"] = counters["run_cycles"] - sum(found.values())
    found["link"] = counters["idle_link"]
    found["between"] = counters["cycles"] - counters["run_cycles"] - counters["idle_link"]
    return found


def modelled_account(account: Account) -> dict[str, int]:
    """The same of a modelled sample: there is nothing between programs."""
    found = dict.fromkeys(WORK.values(), 0)
    for (op, _), cycles in account.issued.items():
        found[WORK[op]] += cycles
    return found | {kind: account.idle[kind] for kind in IDLE_KINDS}


def account_table(program: Program) -> Iterator[str]:
    """Lines: cycles and lane-cycles of a sample of which nothing is skipped, by what the lanes do or wait for."""
    if program.parameters.lanes == 1:
        raise FrennError("an engine of one lane does one thing after the other, and nothing waits; ask for the cycles of 4 lanes or more")
    account = dense_account(program)
    yield f"a training sample of which nothing is skipped takes {account.cycles} cycles on {account.lanes} lanes:"
    rows = [("cycles", "%", "lanes busy %", "what")]
    for (op, block), cycles in sorted(account.issued.items()):
        busy = account.lane_cycles[op, block] / (cycles * account.lanes)
        rows.append((str(cycles), _share(cycles, account), f"{100 * busy:.1f}", f"{WORK[op]} {program.network.weight_names[block]}"))
    for kind, meaning in IDLE_KINDS.items():
        rows.append((str(account.idle[kind]), _share(account.idle[kind], account), "", f"{kind}: {meaning}"))
    rows.append((str(account.cycles), "100.0", f"{100 * account.utilisation:.1f}", "all"))
    narrow = account.narrow / (account.lanes * account.cycles)
    widths = [max(map(len, column)) for column in zip(*(row[:3] for row in rows), strict=True)]
    for row in rows:
        yield "  " + "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
    idle = 1 - account.utilisation - narrow
    yield (
        f"of all lane-cycles {100 * account.utilisation:.1f} % are products, {100 * narrow:.1f} % are of lanes without a row, and in "
        f"{100 * idle:.1f} % no product is asked for"
    )


def _share(cycles: int, account: Account) -> str:
    return f"{100 * cycles / account.cycles:.1f}"
