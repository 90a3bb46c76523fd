// Global memory of the executor: which buffer an access touches, and whether it may.
#include <algorithm>
#include <map>
#include <memory>

#include "cells.h"
#include "grids.h"
#include "ssd_executor/executor.h"
#include "state.h"

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
  Zeroed<ChainTouch> chain;                             // the same granules
};
std::vector<std::unique_ptr<Buffer>> buffers;
Buffer* recent = nullptr;
std::map<std::string, ssd_executor_traffic_t> retired;  // traffic of buffers that are gone

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
    if (touch_in_chain(buffer.chain.data[granule], access)) {
      fault("race between kernels on " + buffer.name + ": " + verb(access) + " byte " +
            std::to_string(offset) + ", which a kernel that may run at the same time uses");
      return;
    }
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

}  // namespace

const char* verb(Access access) {
  return access == Access::kRead ? "reads" : access == Access::kWrite ? "writes" : "updates";
}

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
  if (check_shared(address, bytes, access)) return;
  if (p >= machine.arguments && p < machine.arguments + machine.argument_bytes) return;
  if (Buffer* buffer = find_buffer(address)) return global_access(*buffer, address, bytes, access);
  if (access == Access::kRead && is_in_module(address)) return;
  unknown_access(address, access);
}

void memory_reset() {
  buffers.clear();
  retired.clear();
  recent = nullptr;
}

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
  finish_launches();
  if (bytes == 0) return;
  auto buffer = std::make_unique<Buffer>();
  buffer->name = name;
  buffer->begin = reinterpret_cast<std::uintptr_t>(data);
  buffer->end = buffer->begin + bytes;
  buffer->flags = flags;
  buffer->read_sectors.reset(bytes / 32 + 2);
  buffer->written_sectors.reset(bytes / 32 + 2);
  if (flags & SSD_EXECUTOR_UNWRITTEN) buffer->written.reset(bytes);
  if (!(flags & SSD_EXECUTOR_READ_ONLY)) {
    buffer->cells.reset(bytes / 4 + 2);
    buffer->chain.reset(bytes / 4 + 2);
  }
  buffers.push_back(std::move(buffer));
}

EXPORTED void ssd_executor_remove_buffer(const void* data) {
  finish_launches();
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
  finish_launches();
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
