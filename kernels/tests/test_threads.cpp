// Parallel loops; compiled with ThreadSanitizer where it runs, so that an access that only a rare
// interleaving would turn into a fault is found in every run.
#include <atomic>
#include <chrono>
#include <new>
#include <thread>
#include <vector>

#include "../src/host_threads.h"
#include "check.h"

using namespace ssd_small;

TEST(each_task_runs_once) {
  for (const int num_threads : {1, 2, 4}) {
    ThreadTeam team(num_threads);
    for (const int num_tasks : {0, 1, 2, 3, 100}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(num_tasks));
      team.run(num_tasks, [&](int index, int worker) {
        CHECK(worker >= 0 && worker < team.size());
        ++runs[static_cast<std::size_t>(index)];
      });
      for (const std::atomic<int>& count : runs) CHECK_EQUAL(count.load(), 1);
    }
  }
}

// The caller is done long before its helper, and gives up waiting for others to join.
TEST(a_helper_may_be_slow) {
  ThreadTeam team(2);
  if (team.size() < 2) return;  // no thread to be had
  for (int round = 0; round < 3; ++round) {
    std::atomic<int> started{0}, finished{0};
    team.run(2, [&](int, int worker) {
      // each thread has one of the two tasks; relaxed, so that this orders nothing else
      started.fetch_add(1, std::memory_order_relaxed);
      while (started.load(std::memory_order_relaxed) < 2) std::this_thread::yield();
      if (worker != 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
      ++finished;
    });
    CHECK_EQUAL(finished.load(), 2);
  }
}

TEST(a_task_that_throws_is_reported) {
  ThreadTeam team(2);
  bool thrown = false;
  try {
    team.run(50, [](int index, int) {
      if (index == 7) throw std::bad_alloc();
    });
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  CHECK(thrown);
  std::atomic<int> runs{0};
  team.run(50, [&](int, int) { ++runs; });
  CHECK_EQUAL(runs.load(), 50);
}

TEST(teams_of_several_threads) {
  std::vector<std::thread> callers;
  std::atomic<int> runs{0};
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        ThreadTeam team(3);
        team.run(20, [&](int, int) { ++runs; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQUAL(runs.load(), 4 * 50 * 20);
}
