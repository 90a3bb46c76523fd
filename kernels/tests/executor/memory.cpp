// Memory of the executor: every load and store of instrumented kernels arrives here (__tsan_*).
//
// Each byte of shared memory and each 4-byte granule of writable global memory has a cell that
// remembers who touched it last. Two accesses by different threads are ordered by a block barrier
// between them (epochs), by a whole-warp __syncwarp between them (warp epochs), or by a launch;
// if nothing orders them and one writes, that is a race, whatever order they really ran in.
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <memory>

#include "ssd_executor/executor.h"
#include "state.h"

// dynamic shared memory: what kernels see as `extern __shared__ unsigned char shared_memory[]`
alignas(128) thread_local unsigned char shared_memory[232448];

namespace ssd_executor {
namespace {

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

struct Buffer {
  std::string name;
  std::uintptr_t begin = 0, end = 0;
  int flags = 0;
  ssd_executor_traffic_t traffic{};
  Zeroed<std::uint32_t> read_sectors, written_sectors;  // block that touched the sector last
  Zeroed<std::uint8_t> written;                         // kUnwritten buffers only
  Zeroed<Cell> cells;                                   // writable buffers only
};
std::vector<std::unique_ptr<Buffer>> buffers;
Buffer* recent = nullptr;
std::map<std::string, ssd_executor_traffic_t> retired;  // traffic of buffers that are gone

struct Range {
  std::uintptr_t begin = 0, end = 0;
  bool holds(std::uintptr_t a) const { return a >= begin && a < end; }
};
Range static_shared, dynamic_shared;  // thread_local storage of the kernel's module
std::vector<Range> modules;           // constants
Zeroed<Cell> static_cells, dynamic_cells;

bool ordered(const Touch& before, std::uint32_t since) {
  if (before.epoch < since) return true;
  if (before.epoch < machine.block_epoch) return false;  // another block of this launch
  if (before.epoch < machine.epoch) return true;         // a barrier since
  const unsigned me = machine.current->linear;
  if (before.thread == me) return true;
  return before.thread / kWarp == me / kWarp && before.warp_epoch < machine.warp_epoch[me / kWarp];
}

// The thread that read the cell and is not ordered before a write by the current one.
bool read_conflict(const Cell& cell, std::uint32_t since) {
  if (cell.first_read >= since && cell.first_read < machine.block_epoch) return true;
  if (cell.read.epoch != machine.epoch || cell.read.epoch < since) return false;
  if (!ordered(cell.read, since)) return true;
  if (cell.other_warp_reader != kNobody) return true;  // it or read.thread is not in this warp
  Touch second = cell.read;
  second.thread = cell.second_reader;
  return second.thread != kNobody && !ordered(second, since);
}

void note_read(Cell& cell, std::uint32_t since) {
  const unsigned me = machine.current->linear;
  const std::uint32_t warp_epoch = machine.warp_epoch[me / kWarp];
  if (cell.first_read < since) cell.first_read = machine.epoch;
  if (cell.read.epoch != machine.epoch) {
    cell.read = {machine.epoch, warp_epoch, static_cast<std::uint16_t>(me)};
    cell.second_reader = cell.other_warp_reader = kNobody;
  } else if (cell.read.thread / kWarp != me / kWarp) {
    cell.other_warp_reader = static_cast<std::uint16_t>(me);
  } else if (cell.read.warp_epoch != warp_epoch) {
    cell.read.warp_epoch = warp_epoch;
    cell.read.thread = static_cast<std::uint16_t>(me);
    cell.second_reader = kNobody;
  } else if (cell.read.thread != me) {
    cell.second_reader = static_cast<std::uint16_t>(me);
  }
}

// True if the access races with an earlier one.
bool touch(Cell& cell, Access access, std::uint32_t since) {
  bool race = !ordered(cell.write, since);
  if (access != Access::kAtomic) race |= !ordered(cell.atomic, since);
  if (access != Access::kRead) race |= read_conflict(cell, since);
  const unsigned me = machine.current->linear;
  const Touch now{machine.epoch, machine.warp_epoch[me / kWarp], static_cast<std::uint16_t>(me)};
  if (access == Access::kRead) note_read(cell, since);
  if (access == Access::kWrite) cell.write = now;
  if (access == Access::kAtomic) cell.atomic = now;
  return race;
}

const char* verb(Access access) {
  return access == Access::kRead ? "reads" : access == Access::kWrite ? "writes" : "updates";
}

void shared_access(std::uintptr_t offset, Zeroed<Cell>& cells, const char* space,
                   std::size_t bytes, Access access) {
  for (std::size_t i = 0; i < bytes; ++i) {
    Cell& cell = cells.data[offset + i];
    if (access != Access::kWrite && cell.write.epoch < machine.block_epoch &&
        cell.atomic.epoch < machine.block_epoch) {
      fault(std::string(verb(access)) + " unwritten " + space + " shared memory at byte " +
            std::to_string(offset + i));
      access = Access::kWrite;  // say it once
    }
    if (touch(cell, access, machine.block_epoch)) {
      fault(std::string("race on ") + space + " shared memory: " + verb(access) + " byte " +
            std::to_string(offset + i) + ", which another thread uses with no barrier between");
      return;
    }
  }
}

Buffer* find_buffer(std::uintptr_t address) {
  if (recent && address >= recent->begin && address < recent->end) return recent;
  for (const auto& buffer : buffers) {
    if (address >= buffer->begin && address < buffer->end) return recent = buffer.get();
  }
  return nullptr;
}

std::uint64_t new_sectors(Zeroed<std::uint32_t>& seen, std::uintptr_t first, std::uintptr_t last) {
  std::uint64_t count = 0;
  for (std::uintptr_t sector = first / 32; sector <= last / 32; ++sector) {
    if (seen.data[sector] == machine.block_number) continue;
    seen.data[sector] = machine.block_number;
    ++count;
  }
  return count;
}

void global_access(Buffer& buffer, std::uintptr_t address, std::size_t bytes, Access access) {
  const std::uintptr_t offset = address - buffer.begin;
  if (address + bytes > buffer.end) {
    fatal_fault(std::string(verb(access)) + " " + std::to_string(address + bytes - buffer.end) +
                " bytes past the end of " + buffer.name);
  }
  const std::uintptr_t base = buffer.begin % 32;  // sectors are aligned addresses
  if (access != Access::kWrite) {
    buffer.traffic.bytes_read += bytes;
    buffer.traffic.sectors_read +=
        new_sectors(buffer.read_sectors, base + offset, base + offset + bytes - 1);
  }
  if (access != Access::kRead) {
    buffer.traffic.bytes_written += bytes;
    buffer.traffic.sectors_written +=
        new_sectors(buffer.written_sectors, base + offset, base + offset + bytes - 1);
    if (buffer.flags & SSD_EXECUTOR_READ_ONLY) {
      fatal_fault("writes read-only buffer " + buffer.name);
    }
  }
  buffer.traffic.atomics += access == Access::kAtomic;
  if (buffer.written.data) {
    for (std::size_t i = 0; i < bytes; ++i) {
      std::uint8_t& written = buffer.written.data[offset + i];
      if (access != Access::kWrite && !written) {
        fault(std::string(verb(access)) + " unwritten byte " + std::to_string(offset + i) +
              " of " + buffer.name);
        break;
      }
      written = 1;
    }
  }
  if (!buffer.cells.data) return;
  for (std::size_t granule = offset / 4; granule <= (offset + bytes - 1) / 4; ++granule) {
    if (touch(buffer.cells.data[granule], access, machine.launch_epoch)) {
      fault("race on " + buffer.name + ": " + verb(access) + " byte " + std::to_string(offset) +
            ", which another thread or block uses with no barrier between");
      return;
    }
  }
}

void unknown_access(std::uintptr_t address, Access access) {
  const Buffer* nearest = nullptr;
  std::uintptr_t distance = ~std::uintptr_t{0};
  for (const auto& buffer : buffers) {
    const std::uintptr_t d = address < buffer->begin ? buffer->begin - address
                                                     : address - buffer->end;
    if (d < distance) {
      distance = d;
      nearest = buffer.get();
    }
  }
  if (!nearest) return;  // nothing is declared
  fatal_fault(std::string(verb(access)) + " outside every buffer, " + std::to_string(distance) +
        (address < nearest->begin ? " bytes before " : " bytes after the end of ") +
        nearest->name);
}

void check(const void* pointer, std::size_t bytes, Access access, bool aligned = true) {
  if (!machine.running || !machine.current) return;
  const char* p = static_cast<const char*>(pointer);
  if (p >= machine.stack_low && p < machine.stack_high) return;
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  if (aligned && address % bytes != 0) {
    fatal_fault(std::string(verb(access)) + " " + std::to_string(bytes) + " bytes, misaligned");
  }
  if (dynamic_shared.holds(address)) {
    return shared_access(address - dynamic_shared.begin, dynamic_cells, "dynamic", bytes, access);
  }
  if (static_shared.holds(address)) {
    const auto whole = reinterpret_cast<std::uintptr_t>(shared_memory);
    if (address >= whole && address < whole + sizeof shared_memory) {
      return fault(std::string(verb(access)) + " dynamic shared memory at byte " +
                   std::to_string(address - whole) + ", the launch gave " +
                   std::to_string(dynamic_shared.end - dynamic_shared.begin));
    }
    return shared_access(address - static_shared.begin, static_cells, "static", bytes, access);
  }
  if (p >= machine.arguments && p < machine.arguments + machine.argument_bytes) return;
  if (Buffer* buffer = find_buffer(address)) return global_access(*buffer, address, bytes, access);
  if (access == Access::kRead) {
    for (const Range& module : modules) {
      if (module.holds(address)) return;
    }
  }
  unknown_access(address, access);
}

int find_module(dl_phdr_info* info, std::size_t, void* kernel) {
  bool mine = false;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& header = info->dlpi_phdr[i];
    const std::uintptr_t begin = info->dlpi_addr + header.p_vaddr;
    const Range range{begin, begin + header.p_memsz};
    if (header.p_type != PT_LOAD) continue;
    mine |= range.holds(reinterpret_cast<std::uintptr_t>(kernel));
  }
  if (!mine) return 0;
  modules.clear();
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& header = info->dlpi_phdr[i];
    const std::uintptr_t begin = info->dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_LOAD) modules.push_back({begin, begin + header.p_memsz});
    if (header.p_type == PT_TLS && info->dlpi_tls_data) {
      static_shared.begin = reinterpret_cast<std::uintptr_t>(info->dlpi_tls_data);
      static_shared.end = static_shared.begin + header.p_memsz;
    }
  }
  return 1;
}

}  // namespace

void memory_launch(const void* kernel, std::size_t dynamic_shared_bytes) {
  shared_memory[0] = 0;  // the thread's copy exists from here on
  static_shared = {};
  dl_iterate_phdr(find_module, const_cast<void*>(kernel));
  const auto dynamic = reinterpret_cast<std::uintptr_t>(shared_memory);
  dynamic_shared = {dynamic, dynamic + dynamic_shared_bytes};
  if (static_cells.count != static_shared.end - static_shared.begin) {
    static_cells.reset(static_shared.end - static_shared.begin);
  }
  if (!dynamic_cells.data) dynamic_cells.reset(sizeof shared_memory);
}

void memory_block() {
  // 0xff everywhere: NaN as a float, -1 as an integer
  const auto poison = [](std::uintptr_t begin, std::uintptr_t end) {
    std::memset(reinterpret_cast<void*>(begin), 0xff, end - begin);
  };
  const auto whole = reinterpret_cast<std::uintptr_t>(shared_memory);
  poison(dynamic_shared.begin, dynamic_shared.end);
  if (static_shared.holds(whole)) {  // shared_memory lies within: poison what is round it
    poison(static_shared.begin, whole);
    poison(whole + sizeof shared_memory, static_shared.end);
  } else {
    poison(static_shared.begin, static_shared.end);
  }
}

void memory_reset() {
  buffers.clear();
  retired.clear();
  recent = nullptr;
}

std::size_t shared_bytes() { return dynamic_shared.end - dynamic_shared.begin; }

void note_memset(void* to, std::size_t bytes) {
  Buffer* buffer = find_buffer(reinterpret_cast<std::uintptr_t>(to));
  if (!buffer || bytes == 0) return;
  buffer->traffic.bytes_written += bytes;
  buffer->traffic.sectors_written += (bytes + 31) / 32;
  const std::uintptr_t offset = reinterpret_cast<std::uintptr_t>(to) - buffer->begin;
  if (buffer->written.data) std::memset(buffer->written.data + offset, 1, bytes);
}

void note_atomic(const void* address, std::size_t bytes) {
  check(address, bytes, Access::kAtomic);
}

}  // namespace ssd_executor

using namespace ssd_executor;
#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED void ssd_executor_add_buffer(const char* name, const void* data, std::size_t bytes,
                                      int flags) {
  if (bytes == 0) return;
  auto buffer = std::make_unique<Buffer>();
  buffer->name = name;
  buffer->begin = reinterpret_cast<std::uintptr_t>(data);
  buffer->end = buffer->begin + bytes;
  buffer->flags = flags;
  buffer->read_sectors.reset(bytes / 32 + 2);
  buffer->written_sectors.reset(bytes / 32 + 2);
  if (flags & SSD_EXECUTOR_UNWRITTEN) buffer->written.reset(bytes);
  if (!(flags & SSD_EXECUTOR_READ_ONLY)) buffer->cells.reset(bytes / 4 + 2);
  buffers.push_back(std::move(buffer));
}

EXPORTED void ssd_executor_remove_buffer(const void* data) {
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  recent = nullptr;
  for (const auto& buffer : buffers) {
    if (buffer->begin == begin) retired[buffer->name] = buffer->traffic;
  }
  buffers.erase(std::remove_if(buffers.begin(), buffers.end(),
                               [begin](const auto& b) { return b->begin == begin; }),
                buffers.end());
}

EXPORTED int ssd_executor_traffic(const char* name, ssd_executor_traffic_t* traffic) {
  for (const auto& buffer : buffers) {
    if (buffer->name != name) continue;
    *traffic = buffer->traffic;
    return 0;
  }
  const auto found = retired.find(name);
  if (found == retired.end()) return -1;
  *traffic = found->second;
  return 0;
}

// ---- what -fsanitize=thread calls ---------------------------------------------------------
#define HOOKS(bytes)                                                                          \
  extern "C" void __tsan_read##bytes(void* p) { check(p, bytes, Access::kRead); }             \
  extern "C" void __tsan_write##bytes(void* p) { check(p, bytes, Access::kWrite); }           \
  extern "C" void __tsan_volatile_read##bytes(void* p) { check(p, bytes, Access::kRead); }    \
  extern "C" void __tsan_volatile_write##bytes(void* p) { check(p, bytes, Access::kWrite); }  \
  extern "C" void __tsan_unaligned_read##bytes(void* p) { check(p, bytes, Access::kRead, false); } \
  extern "C" void __tsan_unaligned_write##bytes(void* p) { check(p, bytes, Access::kWrite, false); }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}
extern "C" void __tsan_read_range(void* p, std::size_t n) { check(p, n, Access::kRead, false); }
extern "C" void __tsan_write_range(void* p, std::size_t n) { check(p, n, Access::kWrite, false); }
