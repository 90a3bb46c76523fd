// Parallel loops over a pool of threads shared by all calls.
#pragma once

#include <functional>

namespace ssd_small {

struct ThreadPool;

// The threads of one call. The pool serves one team at a time: a team made while another works
// consists of the calling thread alone, so callers in parallel do not oversubscribe the machine.
// Idle threads sleep; a process made by fork starts its own.
class ThreadTeam {
 public:
  // The calling thread is one of the team, which may come out smaller than asked for.
  explicit ThreadTeam(int num_threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }

  // task(index, worker) for every index below num_tasks, worker below size(), taken in turn by
  // whoever is free; returns when all are done. If a task throws, those not yet begun are dropped
  // and std::bad_alloc is thrown here (memory is all that can run out).
  void run(int num_tasks, const std::function<void(int, int)>& task);

 private:
  ThreadPool* pool_ = nullptr;  // null: the calling thread alone
  int size_ = 1;
};

// Threads to use for `elements` values of conf: `requested`, or else SSD_SMALL_NUM_THREADS, or
// else the number of processors; fewer where the work would not repay waking them.
int choose_num_threads(int requested, double elements);

}  // namespace ssd_small
