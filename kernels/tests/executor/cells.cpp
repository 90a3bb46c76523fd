#include "cells.h"

#include "state.h"

namespace ssd_executor {
namespace {

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

}  // namespace

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

}  // namespace ssd_executor
