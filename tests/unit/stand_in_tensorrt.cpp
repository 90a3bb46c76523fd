// A TensorRT as far as registration goes: a version, and a registry that says which function of
// its virtual table was called. Compiled by test_plugin_registration.py with VERSION, and with
// WITHOUT_REGISTRY (no such symbol) or NULL_REGISTRY.
#include <cstdint>
#include <cstring>

namespace {

constexpr int kSlots = 24;
int calls[kSlots];
void* creators[4] = {};
int num_creators = 0;
bool is_repeated = false;
bool started = false;

template <int Slot>
bool function(void*, void* given, const char* name_space) {
  ++calls[Slot];
  for (int i = 0; i < num_creators; ++i) {
    if (creators[i] != given) continue;
    is_repeated = true;
    return false;
  }
  if (num_creators < 4) creators[num_creators++] = given;
  return std::strcmp(name_space, "") == 0;
}

template <int... Slots>
struct Table {
  void* functions[sizeof...(Slots)] = {reinterpret_cast<void*>(&function<Slots>)...};
};

Table<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23> table;
void* registry = table.functions;

__attribute__((constructor)) void start() { started = true; }

}  // namespace

extern "C" {
std::int32_t getInferLibVersion() { return VERSION; }
#ifndef WITHOUT_REGISTRY
void* getPluginRegistry() {
#ifdef NULL_REGISTRY
  return nullptr;
#else
  return started ? &registry : nullptr;
#endif
}
#endif

// The slot that was called, once for each creator; -1: none, -2: several or twice for one.
int called_slot() {
  int found = -1;
  for (int slot = 0; slot < kSlots; ++slot) {
    if (calls[slot] != 0) found = found == -1 && !is_repeated ? slot : -2;
  }
  return found;
}
void* given_creator(int number) { return creators[number]; }
}
