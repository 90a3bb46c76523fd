// Shared memory of the executor: thread_local storage of the kernel's module, block by block.
#include <link.h>

#include <cstring>
#include <string>

#include "address_sanitizer.h"
#include "cells.h"
#include "state.h"

// dynamic shared memory: what kernels see as `extern __shared__ unsigned char shared_memory[]`
alignas(128) thread_local unsigned char shared_memory[232448];

namespace ssd_executor {
namespace {

struct Range {
  std::uintptr_t begin = 0, end = 0;
  bool holds(std::uintptr_t a) const { return a >= begin && a < end; }
};
Range static_shared, dynamic_shared;  // thread_local storage of the kernel's module
std::vector<Range> modules;           // constants
Zeroed<Cell> static_cells, dynamic_cells;

void access_shared(std::uintptr_t offset, Zeroed<Cell>& cells, const char* space,
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

// Calls visit(range, cells) for what a block may write. shared_memory may lie within the static
// range, and beyond what the launch gave of it nobody may.
template <class Visit>
void for_each_part(const Visit& visit) {
  const auto whole = reinterpret_cast<std::uintptr_t>(shared_memory);
  const auto visit_static = [&](std::uintptr_t begin, std::uintptr_t end) {
    visit(Range{begin, end}, static_cells.data + (begin - static_shared.begin));
  };
  visit(dynamic_shared, dynamic_cells.data);
  if (static_shared.holds(whole)) {
    visit_static(static_shared.begin, whole);
    visit_static(whole + sizeof shared_memory, static_shared.end);
  } else {
    visit_static(static_shared.begin, static_shared.end);
  }
}

}  // namespace

void shared_memory_enter(const void* kernel, std::size_t dynamic_bytes) {
  shared_memory[0] = 0;  // the thread's copy exists from here on
  static_shared = {};
  dl_iterate_phdr(find_module, const_cast<void*>(kernel));
  const auto dynamic = reinterpret_cast<std::uintptr_t>(shared_memory);
  dynamic_shared = {dynamic, dynamic + dynamic_bytes};
  allow(shared_memory, dynamic_bytes);
  forbid(shared_memory + dynamic_bytes, sizeof shared_memory - dynamic_bytes);
  if (static_cells.count != static_shared.end - static_shared.begin) {
    static_cells.reset(static_shared.end - static_shared.begin);
  }
  if (!dynamic_cells.data) dynamic_cells.reset(sizeof shared_memory);
}

void shared_memory_begin_block() {
  for_each_part([](const Range& range, Cell*) {
    // 0xff everywhere: NaN as a float, -1 as an integer
    std::memset(reinterpret_cast<void*>(range.begin), 0xff, range.end - range.begin);
  });
}

SharedImage shared_memory_image() {
  SharedImage image;
  for_each_part([&image](const Range& range, const Cell* cells) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(range.begin);
    image.bytes.insert(image.bytes.end(), bytes, bytes + (range.end - range.begin));
    image.cells.insert(image.cells.end(), cells, cells + (range.end - range.begin));
  });
  return image;
}

void shared_memory_restore(const SharedImage& image) {
  std::size_t done = 0;
  for_each_part([&](const Range& range, Cell* cells) {
    const std::size_t size = range.end - range.begin;
    if (size == 0) return;
    std::memcpy(reinterpret_cast<void*>(range.begin), image.bytes.data() + done, size);
    std::memcpy(static_cast<void*>(cells), image.cells.data() + done, size * sizeof(Cell));
    done += size;
  });
}

std::size_t shared_bytes() { return dynamic_shared.end - dynamic_shared.begin; }

bool check_shared(std::uintptr_t address, std::size_t bytes, Access access) {
  if (dynamic_shared.holds(address)) {
    access_shared(address - dynamic_shared.begin, dynamic_cells, "dynamic", bytes, access);
    return true;
  }
  if (!static_shared.holds(address)) return false;
  const auto whole = reinterpret_cast<std::uintptr_t>(shared_memory);
  if (address >= whole && address < whole + sizeof shared_memory) {
    fault(std::string(verb(access)) + " dynamic shared memory at byte " +
          std::to_string(address - whole) + ", the launch gave " +
          std::to_string(dynamic_shared.end - dynamic_shared.begin));
    abandon();
  }
  access_shared(address - static_shared.begin, static_cells, "static", bytes, access);
  return true;
}

bool is_in_module(std::uintptr_t address) {
  for (const Range& module : modules) {
    if (module.holds(address)) return true;
  }
  return false;
}

}  // namespace ssd_executor
