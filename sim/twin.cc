// SPDX-License-Identifier: Apache-2.0
// Drives the compiled device from a queue of words to a queue of words, a stride of clock cycles at a time.
// FRENN_IN and FRENN_OUT name its two streams, or pins: then FRENN_BIT is the time of a bit on them, in cycles.

#include "Vfrenn.h"
#include "verilated.h"

#include <cstdint>
#include <deque>

// Verilator writes the double underscore of a stream's ports as ___05F.
#define JOIN(stream, member) stream##___05F##member
#define PORT(stream, member) JOIN(stream, member)

namespace {

#ifdef FRENN_BIT
// The other end of a serial line, in a clock of its own.
struct Serial {
    double start = 0, fall = 0;
    int sent = 10, seen = -1;
    unsigned shift = 0;

    // The level that the device sees at a time; begins the next character when the last one is over.
    bool drive(double now, std::deque<uint64_t> &pending) {
        if (sent == 10) {
            if (pending.empty())
                return true;
            start = now < start ? start : now;
            sent = 0;
        }
        while (sent < 10 && now >= start + (sent + 1) * FRENN_BIT)
            sent++;
        if (sent == 10) {
            start += 10 * FRENN_BIT;
            pending.pop_front();
            return drive(now, pending);
        }
        // A word of nine bits turns the stop bit round.
        return (0x200u ^ (unsigned)pending.front() << 1) >> sent & 1;
    }

    // Whether a character was complete with the level at a time.
    bool sample(double now, bool level) {
        if (seen < 0) {
            if (!level) {
                fall = now;
                seen = 0;
            }
        } else if (now >= fall + (seen + 0.5) * FRENN_BIT) {
            if (seen == 0 && level) {
                seen = -1;
            } else if (seen == 9) {
                seen = -1;
                return level;
            } else {
                shift = shift >> 1 | (unsigned)level << 8;
                seen++;
            }
        }
        return false;
    }

    uint64_t byte() const { return shift >> 1 & 0xff; }
};
#endif

struct Twin {
    VerilatedContext context;
    Vfrenn design{&context};
    std::deque<uint64_t> pending;
    uint64_t cycles = 0;
#ifdef FRENN_BIT
    Serial serial;
#endif

    Twin() {
#ifdef FRENN_BIT
        design.FRENN_IN = 1;
#endif
        design.rst = 1;
        fall();
        rise();
        design.rst = 0;
    }

    // Outputs follow the inputs; both sides of a stream look at valid and ready just before the edge.
    void fall() {
        design.clk = 0;
        design.eval();
    }

    void rise() {
        design.clk = 1;
        design.eval();
        cycles++;
    }
};

}  // namespace

// Called by Verilator for the time of a message; the gateware has no time but cycles.
double sc_time_stamp() { return 0; }

extern "C" {

void *twin_open() { return new Twin(); }

void twin_close(void *handle) { delete static_cast<Twin *>(handle); }

uint64_t twin_cycles(void *handle) { return static_cast<Twin *>(handle)->cycles; }

void twin_send(void *handle, const uint64_t *words, uint64_t count) {
    auto &pending = static_cast<Twin *>(handle)->pending;
    pending.insert(pending.end(), words, words + count);
}

uint64_t twin_pending(void *handle) { return static_cast<Twin *>(handle)->pending.size(); }

// Characters that the device has dropped.
uint64_t twin_dropped(void *handle) {
#ifdef FRENN_BIT
    auto &design = static_cast<Twin *>(handle)->design;
    return design.framing_errors + design.overruns;
#else
    return 0;
#endif
}

// Runs until a word has come that holds a bit of `stop`, until `limit` words have come, for `quiet` cycles after
// the last word, or for `stride` cycles. Returns the number of words.
uint64_t twin_run(void *handle, uint64_t *words, uint64_t limit, uint64_t stop, uint64_t quiet, uint64_t stride) {
    auto &twin = *static_cast<Twin *>(handle);
    auto &design = twin.design;
    uint64_t count = 0, last = 0;
#ifdef FRENN_BIT
    for (uint64_t cycle = 0; cycle < stride && count < limit; cycle++) {
        if (count && cycle - last > quiet)
            break;
        design.FRENN_IN = twin.serial.drive(twin.cycles, twin.pending);
        twin.fall();
        bool complete = twin.serial.sample(twin.cycles, design.FRENN_OUT);
        twin.rise();
        if (complete) {
            words[count++] = twin.serial.byte();
            last = cycle;
        }
    }
#else
    design.PORT(FRENN_OUT, ready) = 1;
    for (uint64_t cycle = 0; cycle < stride && count < limit; cycle++) {
        if (count && cycle - last > quiet)
            break;
        bool sending = !twin.pending.empty();
        design.PORT(FRENN_IN, valid) = sending;
        if (sending)
            design.PORT(FRENN_IN, payload) = twin.pending.front();
        twin.fall();
        bool taken = sending && design.PORT(FRENN_IN, ready);
        bool given = design.PORT(FRENN_OUT, valid);
        uint64_t word = design.PORT(FRENN_OUT, payload);
        twin.rise();
        if (taken)
            twin.pending.pop_front();
        if (given) {
            words[count++] = word;
            last = cycle;
            if (word & stop)
                break;
        }
    }
    // Between strides nothing is taken: a word that waits must not be lost.
    design.PORT(FRENN_OUT, ready) = 0;
#endif
    return count;
}

}  // extern "C"
