#include "core/cuda_check.h"
#include "core/thread_block.h"
#include "sim/coin_game_batch.h"
#include "sim/game_driver.h"

namespace loqa {
namespace {

template <typename Game, typename Element>
__global__ void __launch_bounds__(kBlockThreads)
    game_play_kernel(const __grid_constant__ GameJob job) {
  const int64_t env = int64_t{blockIdx.x} * kBlockThreads + threadIdx.x;
  if (env < job.num_envs) play_thread<Game, Element>(job, env);
}

}  // namespace

void game_play_cuda(const GameJob& job, void* stream) {
  const unsigned grid = static_cast<unsigned>(thread_blocks(job.num_envs));
  const auto on = static_cast<cudaStream_t>(stream);
  with_driver(
      job, [&] { coin_play_cuda(job, stream); },
      [&](auto game, auto element) {
        using Game = typename decltype(game)::Type;
        using Element = typename decltype(element)::Type;
        game_play_kernel<Game, Element><<<grid, kBlockThreads, 0, on>>>(job);
      });
  cuda_check(cudaGetLastError(), "launch of a game");
}

}  // namespace loqa
