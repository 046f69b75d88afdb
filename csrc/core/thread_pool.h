#pragma once

#include <cstdint>
#include <functional>

namespace loqa {

// Threads that this process may use: as many as the affinity mask and the control groups allow, or
// LOQA_NUM_THREADS if that is set.
int default_num_threads();

// Calls body(begin, end) for a partition of [0, count) whose bounds are multiples of `align`, on
// the calling thread and on as many others as make at most `num_threads` in all and leave each at
// least `grain` items (so small work stays on the caller's thread). Chunks are claimed as threads
// become free: the result must not depend on who works on what. The first exception of any chunk is
// thrown again here, after all have ended. Workers sleep between calls; a forked child starts its
// own. Calls from several threads are served one after the other. If the caller's Call (call.h) is
// told to end, what is left is not begun, and Interrupted is thrown.
void parallel_for(int64_t count, int64_t grain, int64_t align, int num_threads,
                  const std::function<void(int64_t, int64_t)>& body);

}  // namespace loqa
