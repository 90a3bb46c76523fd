// The CPU executor of CUDA kernels: what a test sees.
//
// A .cu file compiled as C++ against the stand-in cuda_runtime.h runs here: one fiber per CUDA
// thread, block after block, but for kernels that may overlap (grids.h). Compiled with
// -fsanitize=thread as well (and linked with this library instead of libtsan), it is traced: each
// load and store is checked and counted. Compiled with -fsanitize=address instead,
// AddressSanitizer checks it, local arrays too; barriers, warp intrinsics and orders are checked as
// ever, but nothing is counted.
//
// Faults found: barriers and warp intrinsics that some thread misses or reaches elsewhere; reads
// of shared memory nobody wrote in this block; races on shared and global memory; accesses
// outside every buffer, misaligned ones, writes to read-only buffers, reads of buffer bytes that
// were never written; accesses of kernels that programmatic dependent launch lets overlap, where no
// wait orders them. Results that depend on the order of threads or blocks show when the seed
// changes.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  SSD_EXECUTOR_READ_WRITE = 0,
  SSD_EXECUTOR_READ_ONLY = 1,
  SSD_EXECUTOR_UNWRITTEN = 2,  // content is undefined until a kernel writes it
};

// Bytes asked for by the threads, and distinct 32-byte sectors per block (a block's cache hits
// are counted once, those between blocks are not).
struct ssd_executor_traffic_t {
  std::uint64_t bytes_read, bytes_written, sectors_read, sectors_written, atomics;
};

// Forgets buffers, faults, traffic and launches; the seed too (0: natural order).
void ssd_executor_reset(void);
// Orders of blocks and threads follow from the seed; if it is not 0, some blocks of kernels that
// may overlap do.
void ssd_executor_seed(std::uint64_t seed);
// Declares global memory. While any buffer is declared, accesses outside all of them are faults.
void ssd_executor_add_buffer(const char* name, const void* data, std::size_t bytes, int flags);
void ssd_executor_remove_buffer(const void* data);  // its traffic stays known by its name
int ssd_executor_traffic(const char* name, struct ssd_executor_traffic_t* traffic);

int ssd_executor_traces(void);  // whether any code of this process is traced

int ssd_executor_fault_count(void);  // all of them; texts are kept for the first 64
const char* ssd_executor_fault(int index);  // nullptr past the end

// The device that kernels and launchers see: compute capability times ten (90 to begin with), and
// whether it refuses launches that may overlap (cudaErrorNotSupported).
void ssd_executor_device(int architecture, int refuses_dependent_launches);
int ssd_executor_overlapping_launches(void);  // since the last call
// From now on waits in kernels whose name holds the text do nothing, as if they had been forgotten;
// nullptr: in none. ssd_executor_reset() leaves it as it is.
void ssd_executor_forget_waits_of(const char* kernel);

int ssd_executor_launch_count(void);  // kernels and memsets
const char* ssd_executor_launch(int index);  // "name grid block shared-bytes"

#ifdef __cplusplus
}
#endif
