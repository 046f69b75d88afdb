#include "core/thread_pool.h"

#include <pthread.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace loqa {
namespace {

constexpr int kMaxThreads = 1024;

class ThreadPool {
 public:
  // Runs task(1), ..., task(parts - 1) on workers and task(0) here.
  void run(int parts, const std::function<void(int)>& task) {
    std::lock_guard one_call(call_mutex_);
    {
      std::lock_guard lock(mutex_);
      while (static_cast<int>(workers_.size()) < parts - 1) {
        const int index = static_cast<int>(workers_.size()) + 1;
        workers_.emplace_back([this, index, seen = generation_] { work(index, seen); });
      }
      task_ = &task;
      parts_ = parts;
      pending_ = parts - 1;
      error_ = nullptr;
      ++generation_;
    }
    wake_.notify_all();
    std::exception_ptr error;
    try {
      task(0);
    } catch (...) {
      error = std::current_exception();
    }
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return pending_ == 0; });
    if (!error) error = error_;
    if (error) std::rethrow_exception(error);
  }

 private:
  void work(int index, uint64_t seen) {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      if (index >= parts_) continue;
      const std::function<void(int)>& task = *task_;
      lock.unlock();
      std::exception_ptr error;
      try {
        task(index);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && !error_) error_ = error;
      if (--pending_ == 0) done_.notify_one();
    }
  }

  std::mutex call_mutex_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<std::thread> workers_;
  const std::function<void(int)>* task_ = nullptr;
  int parts_ = 0;
  int pending_ = 0;
  uint64_t generation_ = 0;
  std::exception_ptr error_;
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
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

void parallel_for(int64_t count, int64_t grain, int64_t align, int num_threads,
                  const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  const int64_t wanted =
      std::min<int64_t>({num_threads, kMaxThreads, count / std::max<int64_t>(grain, 1)});
  if (wanted <= 1) {
    body(0, count);
    return;
  }
  const int64_t blocks = (count + align - 1) / align;
  const int64_t part = (blocks + wanted - 1) / wanted * align;
  const int parts = static_cast<int>((count + part - 1) / part);
  pool().run(parts, [&](int index) {
    const int64_t begin = index * part;
    body(begin, std::min(begin + part, count));
  });
}

}  // namespace loqa
