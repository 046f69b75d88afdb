#include <memory>
#include <vector>

#include "sim/coin_game_threads.h"

// The device's work in a loop over its threads, block by block: for tests.

namespace loqa {

void coin_play_host(const GameJob& given) {
  const threads::CoinJob job(given);
  std::vector<uint32_t> shared(threads::coin_views_words(job.batch));
  for (int64_t env = 0; job.restart != nullptr && env < job.num_envs; ++env) {
    threads::reset_env(job, env);
  }
  threads::with_program(job, [&](auto played, auto players, auto coins) {
    const auto block = std::make_unique<HostBlock<threads::CoinThread<players, coins>>>();
    block->shared = shared.data();
    for (int64_t index = 0; index < thread_blocks(job.num_envs); ++index) {
      block->index = index;
      if (job.only_choose) {
        threads::choose_block<players, coins>(job, *block);
      } else if (job.observe_first || job.steps > 0) {
        threads::play_block<played != 0, players, coins>(job, *block);
      }
    }
  });
}

}  // namespace loqa
