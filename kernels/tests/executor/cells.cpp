#include "cells.h"

#include "grids.h"
#include "state.h"

namespace ssd_executor {
namespace {

bool ordered(const Touch& before, std::uint32_t since) {
  if (before.epoch < since) return true;
  const Owner owner = owner_of(before.epoch);
  if (owner.position != machine.launched->position) return true;  // see touch_in_chain()
  if (owner.block != machine.block_number) return false;  // another block of this launch
  if (before.epoch < machine.epoch) return true;         // a barrier since
  const unsigned me = machine.current->linear;
  if (before.thread == me) return true;
  return before.thread / kWarp == me / kWarp && before.warp_epoch < machine.warp_epoch[me / kWarp];
}

// Whether an epoch of this chain is no other block's of this launch.
bool is_own(std::uint32_t epoch) {
  const Owner owner = owner_of(epoch);
  return owner.position != machine.launched->position || owner.block == machine.block_number;
}

// The thread that read the cell and is not ordered before a write by the current one.
bool read_conflict(const Cell& cell, std::uint32_t since) {
  if (cell.first_read >= since && !is_own(cell.first_read)) return true;
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
  if (cell.first_read < since ||
      owner_of(cell.first_read).position != machine.launched->position) {
    cell.first_read = machine.epoch;
  }
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

bool touch_in_chain(ChainTouch& touched, Access access) {
  constexpr unsigned kReadBit = 1, kWriteBit = 2, kAtomicBit = 4, kAfterWait = 3;
  const unsigned mine = machine.launched->position;
  if (touched.chain != chain_number()) touched = {0, chain_number()};
  const unsigned conflicting = access == Access::kRead    ? kWriteBit | kAtomicBit
                               : access == Access::kWrite ? kReadBit | kWriteBit | kAtomicBit
                                                          : kReadBit | kWriteBit;
  bool conflict = false;
  for (unsigned other = 0; touched.bits >> 8 * other != 0 && other < kMaxChain; ++other) {
    const unsigned bits = static_cast<unsigned>(touched.bits >> 8 * other & 0xff);
    if (other == mine || bits == 0) continue;
    // the later of two is ordered after the earlier one by its own wait, and by nothing else
    const bool before = bits & conflicting, after = bits >> kAfterWait & conflicting;
    if (other < mine) {
      const bool ordered = machine.current->waited && other >= known_complete_from(mine);
      conflict |= !ordered && (before || after);
    } else {
      conflict |= before || (after && mine < known_complete_from(other));
    }
  }
  const unsigned bit = access == Access::kRead    ? kReadBit
                       : access == Access::kWrite ? kWriteBit
                                                  : kAtomicBit;
  touched.bits |= std::uint64_t{bit} << (8 * mine + (machine.current->waited ? kAfterWait : 0u));
  return conflict;
}

}  // namespace ssd_executor
