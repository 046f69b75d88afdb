#pragma once

#include <cstdint>
#include <functional>

namespace loqa {

// Threads that this process may use: the affinity mask, or LOQA_NUM_THREADS if that is set.
int default_num_threads();

// Calls body(begin, end) for a static partition of [0, count) into at most `num_threads` parts,
// each but the last a multiple of `align` items and none smaller than `grain` (so small work stays
// on the caller's thread). The caller works on the first part. The first exception of any part is
// thrown again here, after all parts have ended. Workers sleep between calls; a forked child starts
// its own. Calls from several threads are served one after the other.
void parallel_for(int64_t count, int64_t grain, int64_t align, int num_threads,
                  const std::function<void(int64_t, int64_t)>& body);

}  // namespace loqa
