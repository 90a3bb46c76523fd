// The executor runs right kernels rightly and catches each deliberate fault of wrong_kernels.h.
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "expect.h"
#include "ssd_executor/executor.h"
#include "ssd_small/half.h"
#include "wrong_kernels.h"

namespace {

template <class... Expected, class... Actual>
cudaError_t run(void (*kernel)(Expected...), unsigned blocks, unsigned threads,
                std::size_t shared_bytes, Actual... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Expected>(arguments)...);
}

// Runs `body` under several seeds; all must report a fault that holds `text`, or none if empty.
void expect_fault(const char* name, const std::string& text, const std::function<void()>& body) {
  for (const std::uint64_t seed : {0, 1, 2, 3, 4}) {
    ssd_executor_reset();
    ssd_executor_seed(seed);
    body();
    const std::string label = std::string(name) + ", seed " + std::to_string(seed) + ": ";
    bool found = text.empty() && ssd_executor_fault_count() == 0;
    std::string all;
    for (int i = 0; ssd_executor_fault(i); ++i) {
      const std::string fault = ssd_executor_fault(i);
      if (all.size() < 400) all += "\n    " + fault;
      found |= !text.empty() && fault.find(text) != std::string::npos;
    }
    expect(found, label + "expected '" + text + "', got" + all);
    if (seed == 0 && found && !text.empty()) std::printf("caught: %s\n", ssd_executor_fault(0));
  }
}

void catches_faults_of_shared_memory_and_barriers() {
  std::vector<float> in(64), out(64);
  std::vector<int> ints(64);
  std::iota(in.begin(), in.end(), 0.0f);
  expect_fault("sum", "", [&] {
    run(sum_kernel, 3, 64, 0, in.data(), out.data(), false);
    expect(out[0] == 2016.0f && out[2] == 2016.0f, "sum of 0..63");
  });
  expect_fault("sum without barrier", "sum_kernel", [&] {
    run(sum_kernel, 1, 64, 0, in.data(), out.data(), true);
  });
  expect_fault("unwritten shared", "unwritten static shared memory", [&] {
    run(unwritten_shared_kernel, 2, 64, 0, out.data());
  });
  expect_fault("write after read", "race on static shared memory", [&] {
    run(write_after_read_kernel, 1, 64, 0, ints.data());
  });
  expect_fault("same value", "race on static shared memory: writes", [&] {
    run(same_value_kernel, 1, 64, 0, ints.data());
  });
  expect_fault("exchange with __syncwarp", "", [&] {
    run(warp_exchange_kernel, 1, 64, 0, ints.data(), true);
  });
  expect_fault("exchange without __syncwarp", "static shared memory", [&] {
    run(warp_exchange_kernel, 1, 64, 0, ints.data(), false);
  });
  expect_fault("atomic, barrier, read", "", [&] {
    run(atomic_and_plain_kernel, 1, 64, 0, ints.data(), true);
    expect(ints[0] == 64 && ints[63] == 64, "shared counter");
  });
  expect_fault("atomic and plain read", "race on static shared memory: reads", [&] {
    run(atomic_and_plain_kernel, 1, 64, 0, ints.data(), false);
  });
  expect_fault("dynamic shared", "", [&] {
    run(dynamic_shared_kernel, 1, 32, 256, ints.data(), 64);
    expect(ints[0] == 63, "dynamic shared memory holds values");
  });
  expect_fault("dynamic shared overrun", "dynamic shared memory at byte 256, the launch gave 256",
               [&] { run(dynamic_shared_kernel, 1, 32, 256, ints.data(), 65); });
  expect_fault("divergent barrier", "divergent barrier: thread (0,0,0) waits", [&] {
    run(divergent_barrier_kernel, 1, 64, 0, ints.data());
  });
  expect_fault("missing barrier", "missing barrier: thread (7,0,0) exited", [&] {
    run(missing_barrier_kernel, 1, 64, 0, ints.data());
  });
  expect_fault("missing lane", "thread (9,0,0) exited", [&] {
    const cudaError_t error = run(missing_lane_kernel, 1, 32, 0, ints.data());
    expect(error == cudaErrorLaunchFailure, "a launch that hangs fails");
  });
  expect_fault("run after a stuck one", "", [&] {
    run(atomic_and_plain_kernel, 1, 64, 0, ints.data(), true);
  });
  expect_fault("foreign lane", "reads lane 20, which takes no part", [&] {
    run(foreign_lane_kernel, 1, 32, 0, ints.data());
  });
}

void catches_faults_of_global_memory() {
  std::vector<float> room(3 * 2048);  // the buffers below have nothing else near
  float* in = room.data() + 1024;
  float* out = room.data() + 4096;
  const auto declare = [&](int in_flags) {
    ssd_executor_add_buffer("in", in, 64 * sizeof(float), in_flags);
    ssd_executor_add_buffer("out", out, 64 * sizeof(float), SSD_EXECUTOR_READ_WRITE);
  };
  expect_fault("read inside", "", [&] {
    declare(SSD_EXECUTOR_READ_ONLY);
    run(read_kernel, 1, 64, 0, in, out, 0);
  });
  expect_fault("read past the end", "0 bytes after the end of in", [&] {
    declare(SSD_EXECUTOR_READ_ONLY);
    run(read_kernel, 1, 64, 0, in, out, 1);
  });
  expect_fault("read before the start", "reads outside every buffer, 4 bytes before in", [&] {
    declare(SSD_EXECUTOR_READ_ONLY);
    run(read_kernel, 1, 64, 0, in, out, -1);
  });
  expect_fault("write past the end", "bytes after the end of out",
               [&] {
                 declare(SSD_EXECUTOR_READ_ONLY);
                 run(write_kernel, 1, 64, 0, out, 3);
               });
  expect_fault("read-only", "writes read-only buffer in", [&] {
    declare(SSD_EXECUTOR_READ_ONLY);
    run(write_kernel, 1, 64, 0, in, 0);
  });
  expect_fault("unwritten", "unwritten byte 0 of in", [&] {
    declare(SSD_EXECUTOR_UNWRITTEN);
    run(read_kernel, 1, 64, 0, in, out, 0);
  });
  expect_fault("written before read", "", [&] {
    declare(SSD_EXECUTOR_UNWRITTEN);
    cudaMemsetAsync(in, 0, 64, nullptr);
    run(write_kernel, 1, 48, 0, in, 16);
    run(read_kernel, 1, 64, 0, in, out, 0);
  });
  expect_fault("misaligned", "reads 16 bytes, misaligned", [&] {
    run(vector_kernel, 1, 4, 0, reinterpret_cast<unsigned char*>(in),
        reinterpret_cast<uint4*>((reinterpret_cast<std::uintptr_t>(out) + 15) / 16 * 16),
        reinterpret_cast<std::uintptr_t>(in) % 16 == 4 ? 8 : 4);
  });
  expect_fault("blocks write one cell", "race on out", [&] {
    declare(SSD_EXECUTOR_READ_ONLY);
    run(block_race_kernel, 4, 32, 0, reinterpret_cast<int*>(out), false);
  });
  expect_fault("blocks update one cell", "", [&] {
    declare(SSD_EXECUTOR_READ_ONLY);
    out[0] = 0.0f;
    run(block_race_kernel, 4, 32, 0, reinterpret_cast<int*>(out), true);
    expect(reinterpret_cast<int*>(out)[0] == 4, "one atomic per block");
  });
  void* allocated = nullptr;
  ssd_executor_reset();
  cudaMalloc(&allocated, 256);
  run(write_kernel, 1, 64, 0, static_cast<float*>(allocated), 1);
  expect(ssd_executor_fault_count() == 1, "guard zone of cudaMalloc");
  cudaFree(allocated);
}

void shows_dependence_on_order() {
  const auto results = [](bool blocks, std::uint64_t seed) {
    ssd_executor_reset();
    ssd_executor_seed(seed);
    std::vector<int> out(64);
    int counter = 0;
    if (blocks) {
      run(arrival_kernel, 64, 32, 0, &counter, out.data());
    } else {
      run(thread_arrival_kernel, 1, 64, 0, out.data());
    }
    return out;
  };
  for (const bool blocks : {false, true}) {
    expect(results(blocks, 0) != results(blocks, 1), "another seed, another order");
    expect(results(blocks, 1) != results(blocks, 2), "seeds differ");
    expect(results(blocks, 1) == results(blocks, 1), "one seed, one order");
  }
}

void counts_bytes_and_sectors() {
  ssd_executor_reset();
  alignas(32) static unsigned char in[1024 + 64];
  alignas(32) static uint4 out[64];
  ssd_executor_add_buffer("in", in, sizeof in, SSD_EXECUTOR_READ_ONLY);
  ssd_executor_add_buffer("out", out, sizeof out, SSD_EXECUTOR_READ_WRITE);
  run(vector_kernel, 1, 64, 0, in, out, 16);  // 1024 bytes from 16 on: 33 sectors
  ssd_executor_traffic_t read{}, written{};
  ssd_executor_traffic("in", &read);
  ssd_executor_traffic("out", &written);
  expect(read.bytes_read == 1024 && read.sectors_read == 33, "bytes and sectors read");
  expect(written.bytes_written == 1024 && written.sectors_written == 32, "... written");
  expect(ssd_executor_launch_count() == 1, "one launch");
  expect(std::string(ssd_executor_launch(0)) == "vector_kernel 1 64 0", "launch record");
}

void intrinsics_give_what_cuda_gives() {
  expect_fault("intrinsics", "", [] {
    std::vector<unsigned> out(12 * 32);
    run(intrinsics_kernel, 1, 32, 0, out.data());
    for (unsigned lane = 0; lane < 32; ++lane) {
      unsigned ballot = 0, match = 0;
      for (unsigned i = 0; i < 32; ++i) {
        ballot |= (i % 3 == 0) << i;
        match |= (i % 5 == lane % 5) << i;
      }
      const unsigned expected[12] = {
          ballot, match, 496, 31, static_cast<unsigned>(-9), lane < 3 ? lane : lane - 3,
          lane % 8 + 3 < 8 ? lane + 3 : lane, lane / 8 * 8 + 2, 1, 11, 1,
          lane < 16 ? 0u : 31u};
      for (int i = 0; i < 12; ++i) {
        expect(out[12 * lane + i] == expected[i],
               "intrinsic " + std::to_string(i) + " of lane " + std::to_string(lane));
      }
    }
  });
}

void half_conversions_agree_with_the_library() {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto h = static_cast<unsigned short>(bits);
    const float a = __half2float(__ushort_as_half(h)), b = ssd_small::float_from_half(h);
    const bool nan = a != a;
    expect(nan == (b != b) && (nan || std::memcmp(&a, &b, 4) == 0), "half to float");
    if (nan) continue;
    for (const float x : {a, a * 1.0004883f, a * 0.9995117f, std::nextafter(a, 1e9f)}) {
      expect(__half_as_ushort(__float2half(x)) == ssd_small::half_from_float(x), "float to half");
    }
  }
}

}  // namespace

int main() {
  catches_faults_of_shared_memory_and_barriers();
  catches_faults_of_global_memory();
  shows_dependence_on_order();
  counts_bytes_and_sectors();
  intrinsics_give_what_cuda_gives();
  half_conversions_agree_with_the_library();
  std::printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
  return failures != 0;
}
