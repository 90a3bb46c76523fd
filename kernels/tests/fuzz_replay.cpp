// Runs a fuzz target without libFuzzer: files given as arguments, then random bytes.
//
//   fuzz_replay [--seconds S] [--seed N] [file ...]
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  double seconds = 2.0;
  unsigned seed = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
      seconds = std::atof(argv[++i]);
    } else if (std::strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
      seed = static_cast<unsigned>(std::atol(argv[++i]));
    } else {
      std::ifstream file(argv[i], std::ios::binary);
      if (!file) {
        std::fprintf(stderr, "%s: cannot be read\n", argv[i]);
        return 2;
      }
      const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
      LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    }
  }
  std::mt19937 random(seed);
  std::vector<std::uint8_t> bytes;
  long runs = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    bytes.resize(random() % 4000);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    // half of the runs with parameters in their usual ranges
    const std::size_t head = std::min<std::size_t>(bytes.size(), 15);
    for (std::size_t i = 0; runs % 2 == 0 && i < head; ++i) bytes[i] %= 200;
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%ld random inputs, seed %u\n", runs, seed);
  return 0;
}
