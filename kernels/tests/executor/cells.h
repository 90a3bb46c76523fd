// Who touched a piece of memory last, and whether two touches race.
//
// Each byte of shared memory and each 4-byte granule of writable global memory has a cell. Two
// accesses by different threads are ordered by a block barrier between them (epochs), by a
// whole-warp __syncwarp between them (warp epochs), or by a launch; if nothing orders them and
// one writes, that is a race, whatever order they really ran in. Kernels that may overlap are told
// apart by a record of their own, which knows nothing of threads.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace ssd_executor {

constexpr std::uint16_t kNobody = 0xffff;
enum class Access { kRead, kWrite, kAtomic };

struct Touch {
  std::uint32_t epoch = 0, warp_epoch = 0;
  std::uint16_t thread = kNobody;
};

struct Cell {  // all zero: never touched
  Touch write, atomic, read;
  std::uint16_t second_reader;      // same warp and warp epoch as read.thread, if read is current
  std::uint16_t other_warp_reader;  // any reader of this epoch in another warp
  std::uint32_t first_read;         // epoch of the launch's first read
};

template <class T>
struct Zeroed {  // lazily backed: untouched pages cost nothing
  T* data = nullptr;
  std::size_t count = 0;
  void reset(std::size_t n) {
    if (data) munmap(data, count * sizeof(T));
    data = nullptr;
    count = n;
    if (n == 0) return;
    void* memory = mmap(nullptr, n * sizeof(T), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    data = static_cast<T*>(memory);
  }
  ~Zeroed() { reset(0); }
  Zeroed() = default;
  Zeroed(const Zeroed&) = delete;
  Zeroed& operator=(const Zeroed&) = delete;
};

// Which kernels of a chain (grids.h) touched a granule, and whether after their wait: 8 bits each.
struct ChainTouch {
  std::uint64_t bits = 0;
  std::uint32_t chain = 0;  // bits of another one count for nothing
};

// Records the access for the kernel that runs; true if it conflicts with one of another kernel
// that may run at the same time.
bool touch_in_chain(ChainTouch& touched, Access access);

// Records the current thread's access; true if it races with an earlier one. Touches before the
// epoch `since` do not count: the launch's for global memory, the block's for shared memory.
bool touch(Cell& cell, Access access, std::uint32_t since);

const char* verb(Access access);

// Memory of a block's own: its ranges, what lies there, and who touched it.
struct SharedImage {
  std::vector<unsigned char> bytes;
  std::vector<Cell> cells;
};
SharedImage shared_memory_image();
void shared_memory_restore(const SharedImage& image);  // after shared_memory_enter()
// An access that may be to shared memory; false if it is none.
bool check_shared(std::uintptr_t address, std::size_t bytes, Access access);
// Whether the address lies in the module of the kernel that runs: its constants do.
bool is_in_module(std::uintptr_t address);

// Any access of the kernel that runs: finds what it touches, checks and counts.
void check(const void* pointer, std::size_t bytes, Access access, bool aligned = true);

}  // namespace ssd_executor
