// Memory of the executor: which buffer or shared memory an access touches, and whether it may.
#include <link.h>

#include <algorithm>
#include <map>
#include <memory>

#include "address_sanitizer.h"
#include "cells.h"
#include "ssd_executor/executor.h"
#include "state.h"

// dynamic shared memory: what kernels see as `extern __shared__ unsigned char shared_memory[]`
alignas(128) thread_local unsigned char shared_memory[232448];

namespace ssd_executor {
namespace {

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
    fault(std::string(verb(access)) + " " + std::to_string(address + bytes - buffer.end) +
          " bytes past the end of " + buffer.name);
    abandon();
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
      fault("writes read-only buffer " + buffer.name);
      abandon();
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
  fault(std::string(verb(access)) + " outside every buffer, " + std::to_string(distance) +
        (address < nearest->begin ? " bytes before " : " bytes after the end of ") + nearest->name);
  abandon();
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

void check(const void* pointer, std::size_t bytes, Access access, bool aligned) {
  if (!machine.running || !machine.current || machine.inside) return;
  const Inside inside;
  const char* p = static_cast<const char*>(pointer);
  if (p >= machine.stack_low && p < machine.stack_high) return;
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  if (aligned && address % bytes != 0) {
    fault(std::string(verb(access)) + " " + std::to_string(bytes) + " bytes, misaligned");
    abandon();
  }
  if (dynamic_shared.holds(address)) {
    return shared_access(address - dynamic_shared.begin, dynamic_cells, "dynamic", bytes, access);
  }
  if (static_shared.holds(address)) {
    const auto whole = reinterpret_cast<std::uintptr_t>(shared_memory);
    if (address >= whole && address < whole + sizeof shared_memory) {
      fault(std::string(verb(access)) + " dynamic shared memory at byte " +
            std::to_string(address - whole) + ", the launch gave " +
            std::to_string(dynamic_shared.end - dynamic_shared.begin));
      abandon();
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

void memory_launch(const void* kernel, std::size_t dynamic_shared_bytes) {
  shared_memory[0] = 0;  // the thread's copy exists from here on
  static_shared = {};
  dl_iterate_phdr(find_module, const_cast<void*>(kernel));
  const auto dynamic = reinterpret_cast<std::uintptr_t>(shared_memory);
  dynamic_shared = {dynamic, dynamic + dynamic_shared_bytes};
  allow(shared_memory, dynamic_shared_bytes);
  forbid(shared_memory + dynamic_shared_bytes, sizeof shared_memory - dynamic_shared_bytes);
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
