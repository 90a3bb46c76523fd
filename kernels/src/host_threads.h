// A team of threads for one call: parallel loops whose tasks are taken in turn.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ssd_small {

// Threads live as long as the team: nothing survives a call, so forking stays safe.
class ThreadTeam {
 public:
  // The calling thread is one of the team. If the system gives fewer threads, the team is smaller.
  explicit ThreadTeam(int num_threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  // task(index, worker) for every index below num_tasks, worker below size(); returns when all are
  // done. If a task throws, the others of this loop are dropped and std::bad_alloc is thrown here
  // (memory is all that can run out).
  void run(int num_tasks, const std::function<void(int, int)>& task);

 private:
  void work(int worker);
  void take_tasks(int worker);

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable start_, finish_;
  const std::function<void(int, int)>* task_ = nullptr;
  int num_tasks_ = 0;
  int round_ = 0;
  int busy_ = 0;
  bool stop_ = false;
  std::atomic<int> next_{0};
  std::atomic<bool> failed_{false};
};

// Threads to use for `elements` values of conf: `requested`, or else SSD_SMALL_NUM_THREADS, or
// else the number of processors; fewer where the work would not repay starting them.
int choose_num_threads(int requested, double elements);

}  // namespace ssd_small
