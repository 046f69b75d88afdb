#include "core/cuda_check.h"
#include "sim/coin_game_threads.h"

namespace loqa {
namespace {

template <bool kScripted, int kPlayers, int kCoins>
__global__ void __launch_bounds__(kBlockThreads)
    coin_play_kernel(const __grid_constant__ CoinJob job) {
  extern __shared__ uint32_t shared[];
  DeviceBlock<threads::CoinThread<kPlayers, kCoins>> block;
  block.index = blockIdx.x;
  block.shared = shared;
  threads::play_block<kScripted, kPlayers, kCoins>(job, block);
}

template <int kPlayers, int kCoins>
__global__ void __launch_bounds__(kBlockThreads)
    coin_choose_kernel(const __grid_constant__ CoinJob job) {
  DeviceBlock<threads::CoinThread<kPlayers, kCoins>> block;
  block.index = blockIdx.x;
  block.shared = nullptr;
  threads::choose_block<kPlayers, kCoins>(job, block);
}

__global__ void __launch_bounds__(kBlockThreads)
    coin_reset_kernel(const __grid_constant__ CoinJob job, const uint8_t* mask) {
  threads::reset_env(job, mask, int64_t{blockIdx.x} * kBlockThreads + threadIdx.x);
}

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), const CoinJob& job, size_t shared, void* stream,
            const Arguments&... arguments) {
  const unsigned grid = static_cast<unsigned>(thread_blocks(job.batch.num_envs));
  kernel<<<grid, kBlockThreads, shared, static_cast<cudaStream_t>(stream)>>>(job, arguments...);
  cuda_check(cudaGetLastError(), "launch of the Coin Game");
}

}  // namespace

void coin_reset_cuda(const CoinJob& job, const uint8_t* mask, void* stream) {
  launch(coin_reset_kernel, job, 0, stream, mask);
}

void coin_play_cuda(const CoinJob& job, void* stream) {
  const size_t shared = sizeof(uint32_t) * threads::coin_rows_words(job.batch);
  const bool scripted = threads::is_scripted(job);
  threads::with_sizes(job.batch.rules, [&](auto players, auto coins) {
    constexpr int kPlayers = decltype(players)::value;
    constexpr int kCoins = decltype(coins)::value;
    if (scripted) {
      launch(coin_play_kernel<true, kPlayers, kCoins>, job, shared, stream);
    } else {
      launch(coin_play_kernel<false, kPlayers, kCoins>, job, shared, stream);
    }
  });
}

void coin_choose_cuda(const CoinJob& job, void* stream) {
  threads::with_sizes(job.batch.rules, [&](auto players, auto coins) {
    launch(coin_choose_kernel<decltype(players)::value, decltype(coins)::value>, job, 0, stream);
  });
}

}  // namespace loqa
