#include <memory>
#include <vector>

#include "sim/coin_game_threads.h"

// The device's work in a loop over its threads, block by block: for tests.

namespace loqa {
namespace {

template <typename Thread, typename Run>
void for_blocks(const CoinJob& job, const Run& run) {
  std::vector<uint32_t> shared(threads::coin_rows_words(job.batch));
  const auto block = std::make_unique<HostBlock<Thread>>();
  block->shared = shared.data();
  for (int64_t index = 0; index < thread_blocks(job.batch.num_envs); ++index) {
    block->index = index;
    run(*block);
  }
}

}  // namespace

void coin_reset_host(const CoinJob& job, const uint8_t* mask) {
  for (int64_t env = 0; env < job.batch.num_envs; ++env) threads::reset_env(job, mask, env);
}

void coin_play_host(const CoinJob& job) {
  threads::with_sizes(job.batch.rules, [&](auto players, auto coins) {
    constexpr int kPlayers = decltype(players)::value;
    constexpr int kCoins = decltype(coins)::value;
    for_blocks<threads::CoinThread<kPlayers, kCoins>>(job, [&](auto& block) {
      if (threads::is_scripted(job)) {
        threads::play_block<true, kPlayers, kCoins>(job, block);
      } else {
        threads::play_block<false, kPlayers, kCoins>(job, block);
      }
    });
  });
}

void coin_choose_host(const CoinJob& job) {
  threads::with_sizes(job.batch.rules, [&](auto players, auto coins) {
    constexpr int kPlayers = decltype(players)::value;
    constexpr int kCoins = decltype(coins)::value;
    for_blocks<threads::CoinThread<kPlayers, kCoins>>(
        job, [&](auto& block) { threads::choose_block<kPlayers, kCoins>(job, block); });
  });
}

}  // namespace loqa
