#include "host_threads.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <system_error>

namespace ssd_small {

ThreadTeam::ThreadTeam(int num_threads) {
  threads_.reserve(static_cast<std::size_t>(std::max(num_threads, 1) - 1));
  try {
    for (int worker = 1; worker < num_threads; ++worker) {
      threads_.emplace_back([this, worker] { work(worker); });
    }
  } catch (const std::system_error&) {
    // no more threads to be had: the loops finish with those there are
  }
}

ThreadTeam::~ThreadTeam() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::run(int num_tasks, const std::function<void(int, int)>& task) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    task_ = &task;
    num_tasks_ = num_tasks;
    next_ = 0;
    failed_ = false;
    busy_ = static_cast<int>(threads_.size());
    ++round_;
  }
  start_.notify_all();
  take_tasks(0);
  std::unique_lock<std::mutex> lock(mutex_);
  finish_.wait(lock, [this] { return busy_ == 0; });
  if (failed_) throw std::bad_alloc();
}

void ThreadTeam::work(int worker) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (int done = 0;; done = round_) {
    start_.wait(lock, [&] { return stop_ || round_ != done; });
    if (stop_) return;
    lock.unlock();
    take_tasks(worker);
    lock.lock();
    if (--busy_ == 0) finish_.notify_one();
  }
}

void ThreadTeam::take_tasks(int worker) {
  try {
    for (int index = next_++; index < num_tasks_ && !failed_; index = next_++) {
      (*task_)(index, worker);
    }
  } catch (...) {
    failed_ = true;
  }
}

int choose_num_threads(int requested, double elements) {
  if (requested <= 0) {
    if (const char* text = std::getenv("SSD_SMALL_NUM_THREADS")) requested = std::atoi(text);
  }
  if (requested <= 0) requested = static_cast<int>(std::thread::hardware_concurrency());
  // starting a thread costs tens of microseconds, the time for about this many values
  const double useful = std::max(1.0, elements / (1 << 17));
  const int most = 256;
  return std::max(1, std::min({requested, most, static_cast<int>(std::min(useful, 1e6))}));
}

}  // namespace ssd_small
