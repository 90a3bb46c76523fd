// Kernels that were launched, and which of them may overlap.
//
// Programmatic dependent launch as the CUDA Programming Guide (4.5) and the headers of CUDA 13.0
// (cuda_device_runtime_api.h, driver_types.h) describe it. A kernel launched with the attribute may
// begin once every block of the kernel before has called cudaTriggerProgrammaticLaunchCompletion()
// or ended; what it does is ordered after the kernel before by its own
// cudaGridDependencySynchronize() alone, which waits for "all direct grid dependencies": for the
// kernel before, and for those before that only as far as that one waited itself. The trigger
// orders no memory.
//
// A chain is a kernel launched plainly, which waits for everything, and the dependent ones after
// it. Two things are done with it. Accesses are held against each other by those rules, whatever
// order they ran in (touch_in_chain). And where the seed is not 0, they do run in others: some
// blocks stop at their trigger until blocks of the next kernel have run up to their wait.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "cells.h"
#include "state.h"

namespace ssd_executor {

constexpr unsigned kMaxChain = 8;  // kernels; a longer one is cut, which is a legal order

// A block that has begun and waits in mid-kernel for its turn.
struct Block {
  Machine machine;
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Thread*> ready;
  std::size_t head, count;
  unsigned exited, at_barrier;
  bool held;  // at its trigger; else it waits for the kernel before
  SharedImage shared;
};

struct Grid {
  LaunchRequest request;
  std::vector<std::max_align_t> arguments;
  std::string name;
  unsigned position = 0;  // in its chain
  std::uint32_t launch_epoch = 0;
  bool waits = false;     // a thread has waited: once this grid is complete, so is the one before
  bool complete = false;
  bool forgets_to_wait = false;  // a planted fault
  unsigned holdable = 0;  // blocks that may still be stopped at their trigger
  std::vector<std::uint32_t> order;  // of blocks
  std::size_t begun = 0;             // blocks that were begun, in that order
  std::deque<Block> waiting;
};

// Who an epoch was given to.
struct Owner {
  std::uint32_t block = 0;  // counts blocks over all launches
  unsigned position = 0;    // of its kernel in the chain
};
Owner owner_of(std::uint32_t epoch);  // of this chain

std::uint32_t chain_number();
// After its wait, the kernel at `position` knows those of its chain from this position on, up to
// itself, to be complete; its own position if there is none.
unsigned known_complete_from(unsigned position);

// Runs what is left of kernels launched; whatever comes after comes after them.
void finish_launches();
// What a block did that ran after its launch had returned; once.
cudaError_t take_failure();

// cudaGridDependencySynchronize() and cudaTriggerProgrammaticLaunchCompletion().
void wait_for_previous_grid();
void trigger_next_grid();

}  // namespace ssd_executor
