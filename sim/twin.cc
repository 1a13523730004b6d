// SPDX-License-Identifier: Apache-2.0
// Drives the compiled device from a queue of words to a queue of words, a stride of clock cycles at a time.
// FRENN_DESIGN names the generated source, FRENN_IN and FRENN_OUT the two streams.

#include FRENN_DESIGN

#include <cstdint>
#include <deque>

#define JOIN(stream, member) p_##stream##____##member
#define PORT(stream, member) JOIN(stream, member)

namespace {

struct Twin {
    cxxrtl_design::p_frenn design;
    std::deque<uint64_t> pending;
    uint64_t cycles = 0;

    Twin() {
        design.p_rst.template set<uint8_t>(1);
        tick();
        design.p_rst.template set<uint8_t>(0);
    }

    // The gateware has rising edges only, so a cycle is one evaluation: the outputs that it leaves are those before the
    // edge, which is when both sides of a stream look at valid and ready.
    bool tick() {
        design.prev_p_clk.template set<uint8_t>(0);
        design.p_clk.template set<uint8_t>(1);
        bool settled = design.eval();
        design.commit();
        cycles++;
        return settled;
    }
};

}  // namespace

extern "C" {

void *twin_open() { return new Twin(); }

void twin_close(void *handle) { delete static_cast<Twin *>(handle); }

uint64_t twin_cycles(void *handle) { return static_cast<Twin *>(handle)->cycles; }

void twin_send(void *handle, const uint64_t *words, uint64_t count) {
    auto &pending = static_cast<Twin *>(handle)->pending;
    pending.insert(pending.end(), words, words + count);
}

uint64_t twin_pending(void *handle) { return static_cast<Twin *>(handle)->pending.size(); }

// Runs until a word has come that holds a bit of `stop`, until `limit` words have come, for `quiet` cycles after
// the last word, or for `stride` cycles. Returns the number of words, or -1 if the logic does not settle.
int64_t twin_run(void *handle, uint64_t *words, uint64_t limit, uint64_t stop, uint64_t quiet, uint64_t stride) {
    auto &twin = *static_cast<Twin *>(handle);
    auto &design = twin.design;
    uint64_t count = 0, last = 0;
    design.PORT(FRENN_OUT, ready).template set<uint8_t>(1);
    for (uint64_t cycle = 0; cycle < stride && count < limit; cycle++) {
        if (count && cycle - last > quiet)
            break;
        bool sending = !twin.pending.empty();
        design.PORT(FRENN_IN, valid).template set<uint8_t>(sending);
        if (sending)
            design.PORT(FRENN_IN, payload).template set<uint64_t>(twin.pending.front());
        if (!twin.tick())
            return -1;
        if (sending && design.PORT(FRENN_IN, ready))
            twin.pending.pop_front();
        if (design.PORT(FRENN_OUT, valid)) {
            uint64_t word = design.PORT(FRENN_OUT, payload).template get<uint64_t>();
            words[count++] = word;
            last = cycle;
            if (word & stop)
                break;
        }
    }
    // Between strides nothing is taken: a word that waits must not be lost.
    design.PORT(FRENN_OUT, ready).template set<uint8_t>(0);
    return count;
}

}  // extern "C"
