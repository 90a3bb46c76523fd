// Kernels that programmatic dependent launch lets overlap: the executor runs right ones rightly and
// catches each wrong one of overlapping_kernels.h.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "overlapping_kernels.h"
#include "expect.h"
#include "ssd_executor/executor.h"

namespace {

constexpr unsigned kBlocks = 6, kThreads = 64, kCells = kBlocks * kThreads;
constexpr std::uint64_t kSeeds = 80;  // 0, in order, and those in which blocks overlap
template <class... Expected, class... Actual>
cudaError_t run(bool dependent, void (*kernel)(Expected...), unsigned blocks, Actual... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = dependent;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(kThreads);
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Expected>(arguments)...);
}
constexpr bool kPlain = false, kDependent = true;

struct Memory {
  std::vector<int> in, out, own;
  void fill() {
    for (std::vector<int>* array : {&in, &out, &own}) array->assign(kCells, kUnwritten);
    ssd_executor_add_buffer("in", in.data(), kCells * sizeof(int), SSD_EXECUTOR_READ_WRITE);
    ssd_executor_add_buffer("out", out.data(), kCells * sizeof(int), SSD_EXECUTOR_READ_WRITE);
    ssd_executor_add_buffer("own", own.data(), kCells * sizeof(int), SSD_EXECUTOR_READ_WRITE);
  }
};
Memory memory;
int* in() { return memory.in.data(); }
int* out() { return memory.out.data(); }
int* own() { return memory.own.data(); }

// Every seed must report a fault that holds `text`, or none if empty (then cells of `out` hold
// `value`). Gives the number of seeds under which some cell does not.
int under_all_seeds(const std::string& name, const std::string& text, int value,
                    const std::function<void()>& body) {
  int wrong = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    ssd_executor_reset();
    ssd_executor_seed(seed);
    memory.fill();
    body();
    const std::string label = name + ", seed " + std::to_string(seed) + ": ";
    expect(cudaStreamSynchronize(nullptr) == cudaSuccess, label + "error");
    const bool found = text.empty() ? first_fault().empty() : any_fault(text);
    // accesses are seen where the code is traced, and not where AddressSanitizer checks it
    expect(found || (!text.empty() && !ssd_executor_traces()),
           label + "expected '" + text + "', got '" + first_fault() + "'");
    if (seed == 0 && found && !text.empty()) std::printf("caught: %s\n", first_fault().c_str());
    const bool right = std::all_of(memory.out.begin(), memory.out.end(),
                                   [value](int cell) { return cell == value; });
    expect(right || !text.empty(), label + "a wrong value");
    wrong += !right;
  }
  return wrong;
}

void right_ones_overlap_without_a_fault() {
  for (const bool trigger : {false, true}) {
    for (const Wait wait : {Wait::kFirst, Wait::kOneThreadThenBarrier}) {
      under_all_seeds("wait", "", kValue, [=] {
        run(kPlain, produce_kernel, kBlocks, in(), trigger);
        run(kDependent, consume_kernel, kBlocks, in(), out(), wait);
      });
    }
  }
  under_all_seeds("a plain launch needs no wait", "", kValue, [] {
    run(kPlain, produce_kernel, kBlocks, in(), true);
    run(kPlain, consume_kernel, kBlocks, in(), out(), Wait::kNever);
  });
  under_all_seeds("nor one after a memset", "", 0, [] {
    run(kPlain, produce_kernel, kBlocks, in(), true);
    cudaMemsetAsync(in(), 0, kCells * sizeof(int), nullptr);
    run(kDependent, consume_kernel, kBlocks, in(), out(), Wait::kNever);
  });
  for (const bool trigger_first : {false, true}) {
    under_all_seeds("one waits for two", "", kValue, [=] {
      run(kPlain, produce_kernel, kBlocks, in(), true);
      run(kDependent, between_kernel, kBlocks, own(), true, trigger_first);
      run(kDependent, consume_kernel, kBlocks, in(), out(), Wait::kFirst);
    });
  }
  under_all_seeds("overwritten after the wait", "", kUnwritten, [] {
    run(kPlain, read_late_kernel, kBlocks, in(), out());
    run(kDependent, overwrite_kernel, kBlocks, in(), true);
  });
  under_all_seeds("shared memory across the wait", "", kValue, [] {
    run(kPlain, produce_kernel, kBlocks, in(), true);
    run(kDependent, shared_across_wait_kernel, kBlocks, in(), own());
    run(kDependent, shared_across_wait_kernel, kBlocks, in(), out());
  });
  under_all_seeds("counted", "", kUnwritten, [] {
    run(kPlain, zero_kernel, 1, own());
    run(kDependent, count_kernel, kBlocks, own(), true);
    cudaStreamSynchronize(nullptr);
    expect(memory.own[0] == static_cast<int>(kCells), "counted from zero");
  });
}

void wrong_ones_are_caught() {
  const std::string race = "race between kernels on ";
  int wrong = under_all_seeds("no wait", race + "in: ", kValue, [] {
    run(kPlain, produce_kernel, kBlocks, in(), true);
    run(kDependent, consume_kernel, kBlocks, in(), out(), Wait::kNever);
  });
  expect(wrong > 0, "no seed shows what a wait left out does to the values");
  expect(wrong < static_cast<int>(kSeeds), "seed 0 runs kernel after kernel");
  under_all_seeds("no wait, none needed for this memory", "ends without waiting for it", kUnwritten,
                  [] {
                    run(kPlain, produce_kernel, kBlocks, in(), true);
                    run(kDependent, between_kernel, kBlocks, own(), false, false);
                  });
  // without a trigger the kernels do not run at once, but memory may still be on its way
  under_all_seeds("no wait and no trigger", race + "in: ", kValue, [] {
    run(kPlain, produce_kernel, kBlocks, in(), false);
    run(kDependent, consume_kernel, kBlocks, in(), out(), Wait::kNever);
  });
  wrong = under_all_seeds("read before the wait", race + "in: ", kValue, [] {
    run(kPlain, produce_kernel, kBlocks, in(), true);
    run(kDependent, consume_kernel, kBlocks, in(), out(), Wait::kAfterRead);
  });
  expect(wrong > 0, "no seed shows what a late wait does to the values");
  under_all_seeds("one thread waits for itself", race + "in: ", kValue, [] {
    run(kPlain, produce_kernel, kBlocks, in(), true);
    run(kDependent, consume_kernel, kBlocks, in(), out(), Wait::kOneThread);
  });
  wrong = under_all_seeds("written before the wait", race + "in: ", kUnwritten, [] {
    run(kPlain, read_late_kernel, kBlocks, in(), out());
    run(kDependent, overwrite_kernel, kBlocks, in(), false);
  });
  expect(wrong > 0, "no seed shows what an early write does to the values");
  under_all_seeds("added before the wait", race + "own: ", kUnwritten, [] {
    run(kPlain, zero_kernel, 1, own());
    run(kDependent, count_kernel, kBlocks, own(), false);
  });
  under_all_seeds("all added before anything is zeroed", race + "own: ", kUnwritten, [] {
    run(kPlain, zero_kernel, 1, own());
    run(kDependent, count_kernel, 1, own(), false);
  });
  // the wait is for the kernel before, and that one did not wait for the first
  under_all_seeds("the one between does not wait", race + "in: ", kValue, [] {
    run(kPlain, produce_kernel, kBlocks, in(), true);
    run(kDependent, between_kernel, kBlocks, own(), false, false);
    run(kDependent, consume_kernel, kBlocks, in(), out(), Wait::kFirst);
  });
}

void a_block_that_hangs_ends_the_launches() {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    ssd_executor_reset();
    ssd_executor_seed(seed);
    memory.fill();
    cudaError_t error = run(kPlain, hang_kernel, 1, out());
    if (error == cudaSuccess) error = run(kDependent, consume_kernel, 1, in(), own(), Wait::kFirst);
    if (error == cudaSuccess) error = cudaStreamSynchronize(nullptr);
    expect(error == cudaErrorLaunchFailure, "the hang is an error of some call");
    expect(any_fault("thread (9,0,0) exited"), "the hang is named");
    expect(run(kPlain, produce_kernel, kBlocks, out(), true) == cudaSuccess &&
               cudaStreamSynchronize(nullptr) == cudaSuccess && memory.out[0] == kValue,
           "the next launch runs");
  }
}

}  // namespace

int main() {
  right_ones_overlap_without_a_fault();
  wrong_ones_are_caught();
  a_block_that_hangs_ends_the_launches();
  std::printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
  return failures != 0;
}
