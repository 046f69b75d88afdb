#include "core/thread_pool.h"

#include <pthread.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/call.h"
#include "core/cgroup.h"

namespace loqa {
namespace {

constexpr int kMaxThreads = 1024;
// A thread's share is cut into so many chunks, claimed one after the other: a thread that starts
// late, or whose core is taken away, leaves what it has not begun to the others.
constexpr int kChunksPerThread = 4;
// Waking a sleeping thread takes 30 to 100 microseconds, as much as a small rollout, and between
// two kernels of a backward pass lie up to 100 of Python whose code the first has swept from the
// cache: a thread that waits looks again for longer than both before it sleeps.
constexpr std::chrono::microseconds kSpin{200};
// A call that may be told to end gives its threads pieces of at most so many grains: milliseconds.
constexpr int64_t kGrainsPerPiece = 256;
constexpr std::chrono::milliseconds kBetweenLooks{50};

// Whether this thread works for a call of the pool: what that calls in turn (a signal's handler may
// run in the middle of it) stays on this thread.
thread_local bool t_busy = false;

struct Busy {
  Busy() { t_busy = true; }
  ~Busy() { t_busy = false; }
};

// Whether `ready` came true in time. Yields all the while, to whoever needs the core more.
template <typename Ready>
bool spin_until(const Ready& ready, std::chrono::nanoseconds time = kSpin) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!ready()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

class ThreadPool {
 public:
  // Runs task(0), ..., task(chunks - 1) here and on up to `helpers` workers. Each starts with its
  // own share, the same in every call of this size: its data is in its core's cache.
  // Throws Interrupted if `call`, which this thread makes, is told to end before it has its turn.
  void run(int chunks, int helpers, const std::function<void(int)>& task, Call* call) {
    std::unique_lock one_call(call_mutex_, std::defer_lock);
    while (!one_call.try_lock_for(kBetweenLooks)) {
      if (call != nullptr && call->ask()) throw Interrupted{};
    }
    const Busy busy;
    {
      std::lock_guard lock(mutex_);
      while (static_cast<int>(workers_.size()) < helpers) {
        const int index = static_cast<int>(workers_.size()) + 1;
        workers_.emplace_back([this, index, seen = generation_.load()] { work(index, seen); });
      }
      task_ = &task;
      shares_.resize(std::max(shares_.size(), static_cast<size_t>(helpers) + 1));
      for (int i = 0; i <= helpers; ++i) {
        shares_[i].next = chunks * i / (helpers + 1);
        shares_[i].end = chunks * (i + 1) / (helpers + 1);
      }
      threads_ = helpers + 1;
      seats_ = helpers;
      error_ = nullptr;
      ++generation_;
    }
    for (int i = 0; i < helpers; ++i) wake_.notify_one();
    claim_chunks(0);
    // All chunks are claimed: whoever has not started by now need not.
    {
      std::lock_guard lock(mutex_);
      seats_ = 0;
    }
    spin_until([this] { return working_ == 0; });
    std::unique_lock lock(mutex_);
    while (!done_.wait_for(lock, kBetweenLooks, [this] { return working_ == 0; })) {
      lock.unlock();
      if (call != nullptr) call->ask();
      lock.lock();
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void work(int index, uint64_t seen) {
    const Busy busy;
    for (;;) {
      spin_until([&] { return generation_ != seen; });
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      if (seats_ == 0) continue;
      const int first = index < threads_ ? index : threads_ - 1;
      --seats_;
      ++working_;
      lock.unlock();
      claim_chunks(first);
      lock.lock();
      if (--working_ == 0) done_.notify_one();
    }
  }

  // Works through share `first`, then through what is left of the others. Somebody else's chunk has
  // to come from another core's cache, now and again when its owner needs it the next time: it is
  // left to an owner who is only a little late.
  void claim_chunks(int first) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < threads_; ++i) {
      if (i == 1) {
        const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - begin;
        spin_until([this] { return all_claimed(); },
                   std::min<std::chrono::nanoseconds>(took / 4, kSpin));
      }
      Share& share = shares_[(first + i) % threads_];
      for (int chunk; (chunk = share.next.fetch_add(1)) < share.end;) {
        try {
          (*task_)(chunk);
        } catch (...) {
          std::lock_guard lock(mutex_);
          if (!error_) error_ = std::current_exception();
        }
      }
    }
  }

  bool all_claimed() const {
    for (int i = 0; i < threads_; ++i) {
      if (shares_[i].next.load() < shares_[i].end) return false;
    }
    return true;
  }

  struct alignas(64) Share {  // chunks [next, end) are not yet claimed
    std::atomic<int> next{0};
    int end = 0;
  };

  std::timed_mutex call_mutex_;
  // Guards what follows; a worker reads task_, shares_ and threads_ while it has a seat.
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<std::thread> workers_;
  const std::function<void(int)>* task_ = nullptr;
  std::deque<Share> shares_;
  int threads_ = 0;
  int seats_ = 0;  // workers that may still join
  std::exception_ptr error_;
  std::atomic<int> working_{0};
  std::atomic<uint64_t> generation_{0};
};

// Never destroyed: at interpreter exit workers may still sleep in it, and after a fork the child
// has none of the parent's threads, so that joining them would hang. The child gets a new pool.
ThreadPool* g_pool = nullptr;
std::mutex g_pool_mutex;

ThreadPool& pool() {
  static const int registered =
      pthread_atfork([] { g_pool_mutex.lock(); }, [] { g_pool_mutex.unlock(); },
                     [] {
                       g_pool = nullptr;
                       g_pool_mutex.unlock();
                     });
  (void)registered;
  std::lock_guard lock(g_pool_mutex);
  if (g_pool == nullptr) g_pool = new ThreadPool();
  return *g_pool;
}

}  // namespace

int default_num_threads() {
  if (const char* wanted = std::getenv("LOQA_NUM_THREADS"); wanted != nullptr && *wanted != '\0') {
    char* end = nullptr;
    const long threads = std::strtol(wanted, &end, 10);
    if (*end != '\0' || threads < 1 || threads > kMaxThreads) {
      throw std::invalid_argument("LOQA_NUM_THREADS must be an integer in [1, 1024], got '" +
                                  std::string(wanted) + "'");
    }
    return static_cast<int>(threads);
  }
  int cpus = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cpus = CPU_COUNT(&set);
  static const int allowed = cgroup_cpus("");
  if (allowed > 0) cpus = std::min(cpus, allowed);
#endif
  return std::max(1, cpus);
}

void parallel_for(int64_t count, int64_t grain, int64_t align, int num_threads,
                  const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  Call* call = Call::current();
  grain = std::max<int64_t>(grain, 1);
  const int64_t wanted = t_busy ? 1 : std::min<int64_t>({num_threads, kMaxThreads, count / grain});
  const int64_t parts = wanted <= 1 ? 1 : wanted * kChunksPerThread;
  const auto blocks_of = [align](int64_t items) { return (items + align - 1) / align; };
  int64_t blocks = (blocks_of(count) + parts - 1) / parts;
  if (call != nullptr && count / kGrainsPerPiece >= grain) {
    blocks = std::min(blocks, blocks_of(kGrainsPerPiece * grain));
  }
  const int64_t chunk = blocks * align;
  const int64_t chunks = (count + chunk - 1) / chunk;
  const auto work = [&](int64_t index) {
    if (interrupted()) return;
    body(index * chunk, std::min((index + 1) * chunk, count));
  };
  if (wanted <= 1) {
    for (int64_t index = 0; index < chunks; ++index) work(index);
  } else {
    const auto help = [&](int index) {
      const WorksFor caller(call);
      work(index);
    };
    pool().run(static_cast<int>(chunks), static_cast<int>(wanted) - 1, help, call);
  }
  if (call != nullptr && call->interrupted()) throw Interrupted{};
}

}  // namespace loqa
