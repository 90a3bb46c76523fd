#include "host_threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define SSD_SMALL_HAS_FORK 1
#endif

namespace ssd_small {

struct ThreadPool {
  std::mutex lease;  // held by the team that uses the pool

  std::mutex mutex;  // of all below but the atomics
  std::condition_variable start, finish;
  const std::function<void(int, int)>* task = nullptr;  // null: no loop to join
  int num_tasks = 0;
  int team_size = 0;
  int num_workers = 0;
  std::atomic<int> round{0};
  std::atomic<int> active{0};  // workers inside the loop; changes under the mutex only
  std::atomic<int> next{0};
  std::atomic<bool> failed{false};

  // `joined`: the task, read under the mutex. The member is withdrawn while others still work.
  void take_tasks(const std::function<void(int, int)>& joined, int worker) {
    try {
      for (int index = next++; index < num_tasks && !failed; index = next++) {
        joined(index, worker);
      }
    } catch (...) {
      failed = true;
    }
  }

  // Never returns: the threads sleep until the process ends.
  void work(int worker) {
    int seen = 0;
    for (;;) {
      // the next loop of the same call follows within microseconds, and at times the next call; to
      // be woken takes longer than some tens of microseconds of yielding
      for (int i = 0; i < 256 && round == seen; ++i) std::this_thread::yield();
      std::unique_lock<std::mutex> lock(mutex);
      start.wait(lock, [&] { return task != nullptr && round != seen && worker < team_size; });
      seen = round;
      ++active;
      const std::function<void(int, int)>& joined = *task;
      lock.unlock();
      take_tasks(joined, worker);
      lock.lock();
      if (--active == 0) finish.notify_one();
    }
  }
};

namespace {

// Never freed: its threads may outlive every static object.
std::atomic<ThreadPool*> shared_pool{nullptr};

ThreadPool* get_pool() {
  ThreadPool* pool = shared_pool;
  if (pool != nullptr) return pool;
  auto* fresh = new (std::nothrow) ThreadPool;
  if (fresh == nullptr || !shared_pool.compare_exchange_strong(pool, fresh)) {
    delete fresh;
    return pool;
  }
#if defined(SSD_SMALL_HAS_FORK)
  // a child has none of the threads; what they left behind is abandoned with them
  static const int registered = pthread_atfork(nullptr, nullptr, [] { shared_pool = nullptr; });
  static_cast<void>(registered);
#endif
  return fresh;
}

}  // namespace

ThreadTeam::ThreadTeam(int num_threads) {
  if (num_threads <= 1) return;
  ThreadPool* pool = get_pool();
  if (pool == nullptr || !pool->lease.try_lock()) return;
  pool_ = pool;
  try {
    while (pool->num_workers < num_threads - 1) {
      const int worker = pool->num_workers + 1;
      std::thread([pool, worker] { pool->work(worker); }).detach();
      ++pool->num_workers;
    }
  } catch (const std::system_error&) {
    // no more threads to be had: go on with those there are
  }
  size_ = std::min(num_threads, pool->num_workers + 1);
}

ThreadTeam::~ThreadTeam() {
  if (pool_ != nullptr) pool_->lease.unlock();
}

void ThreadTeam::run(int num_tasks, const std::function<void(int, int)>& task) {
  if (pool_ == nullptr || num_tasks <= 1) {
    for (int index = 0; index < num_tasks; ++index) task(index, 0);
    return;
  }
  ThreadPool& pool = *pool_;
  {
    const std::lock_guard<std::mutex> lock(pool.mutex);
    pool.task = &task;
    pool.num_tasks = num_tasks;
    pool.team_size = size_;
    pool.next = 0;
    pool.failed = false;
    ++pool.round;
  }
  pool.start.notify_all();
  pool.take_tasks(task, 0);
  // every task has been taken: who has not come by now need not come
  for (int i = 0; i < 256 && pool.active != 0; ++i) std::this_thread::yield();
  std::unique_lock<std::mutex> lock(pool.mutex);
  pool.task = nullptr;
  pool.finish.wait(lock, [&] { return pool.active == 0; });
  if (pool.failed) throw std::bad_alloc();
}

int choose_num_threads(int requested, double elements) {
  if (requested <= 0) {
    if (const char* text = std::getenv("SSD_SMALL_NUM_THREADS")) requested = std::atoi(text);
  }
  if (requested <= 0) requested = static_cast<int>(std::thread::hardware_concurrency());
  // waking a thread takes some microseconds, the time for about this many values
  constexpr double kPerThread = 1 << 17;
  const double useful = std::min(256.0, std::max(1.0, elements / kPerThread));
  return std::max(1, std::min(requested, static_cast<int>(useful)));
}

}  // namespace ssd_small
