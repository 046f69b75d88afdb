#include "core/cuda_check.h"
#include "sim/coin_game_threads.h"

namespace loqa {
namespace {

template <bool kPlayed, int kPlayers, int kCoins>
__global__ void __launch_bounds__(kBlockThreads)
    coin_play_kernel(const __grid_constant__ threads::CoinJob job) {
  extern __shared__ uint32_t shared[];
  DeviceBlock<threads::CoinThread<kPlayers, kCoins>> block;
  block.index = blockIdx.x;
  block.shared = shared;
  threads::play_block<kPlayed, kPlayers, kCoins>(job, block);
}

template <int kPlayers, int kCoins>
__global__ void __launch_bounds__(kBlockThreads)
    coin_choose_kernel(const __grid_constant__ threads::CoinJob job) {
  DeviceBlock<threads::CoinThread<kPlayers, kCoins>> block;
  block.index = blockIdx.x;
  block.shared = nullptr;
  threads::choose_block<kPlayers, kCoins>(job, block);
}

__global__ void __launch_bounds__(kBlockThreads)
    coin_reset_kernel(const __grid_constant__ threads::CoinJob job) {
  threads::reset_env(job, int64_t{blockIdx.x} * kBlockThreads + threadIdx.x);
}

}  // namespace

void coin_play_cuda(const GameJob& given, void* stream) {
  const threads::CoinJob job(given);
  const auto launch = [&](auto* kernel, size_t shared) {
    const unsigned grid = static_cast<unsigned>(thread_blocks(job.num_envs));
    kernel<<<grid, kBlockThreads, shared, static_cast<cudaStream_t>(stream)>>>(job);
    cuda_check(cudaGetLastError(), "launch of the Coin Game");
  };
  if (job.restart != nullptr) launch(coin_reset_kernel, 0);
  if (job.only_choose) {
    threads::with_sizes(job.batch.rules, [&](auto players, auto coins) {
      launch(coin_choose_kernel<players, coins>, 0);
    });
  } else if (job.observe_first || job.steps > 0) {
    threads::with_program(job, [&](auto played, auto players, auto coins) {
      launch(coin_play_kernel<played != 0, players, coins>,
             sizeof(uint32_t) * threads::coin_views_words(job.batch));
    });
  }
}

}  // namespace loqa
