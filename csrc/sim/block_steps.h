#pragma once

#include "core/thread_block.h"
#include "sim/autoreset.h"

namespace loqa {

// The steps of a block of environments, one a thread, for the jobs of every game:
// step(thread, t) steps one, show(only_ended, obs) writes the observations of all environments or
// of those whose episode has ended, next_episode(thread) starts another. `obs_bytes` lie between
// the observations of one step and the next.
template <typename Job, typename Block, typename Step, typename Show, typename Next>
LOQA_BLOCK void play_steps(const Job& job, int64_t obs_bytes, Block& block, const Step& step,
                           const Show& show, const Next& next_episode) {
  uint8_t* obs = static_cast<uint8_t*>(job.obs);
  for (int64_t t = job.observe_first ? -1 : 0; t < job.steps; ++t, obs += obs_bytes) {
    if (t >= 0) {
      block.alone([&](auto& me, int) {
        if (me.live) step(me, t);
      });
    }
    // With kSameStep the last observations of episodes come first, and then those of the next. One
    // call of `show` in the text: it is large.
    bool last =
        job.autoreset == Autoreset::kSameStep && block.any([](const auto& me) { return me.ended; });
    for (bool more = true; more;) {
      show(last, last ? job.final_obs : obs);
      more = last;
      if (last) {
        block.alone([&](auto& me, int) {
          if (me.ended) next_episode(me);
        });
      }
      last = false;
    }
  }
}

}  // namespace loqa
