#include "sim/matrix_game_threads.h"

// The device's work in a loop over its threads, block by block: for tests.

namespace loqa {

void matrix_play_host(const MatrixJob& job) {
  uint32_t shared[threads::kMatrixSharedWords];
  HostBlock<threads::MatrixThread> block;
  block.shared = shared;
  for (int64_t index = 0; index < thread_blocks(job.batch.num_envs); ++index) {
    block.index = index;
    if (job.probabilities != nullptr) {
      threads::play_block<true>(job, block);
    } else {
      threads::play_block<false>(job, block);
    }
  }
}

}  // namespace loqa
