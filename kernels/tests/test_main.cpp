#include <cstring>

#include "check.h"

int main(int argc, char** argv) {
  int run = 0;
  for (const check::Test& test : check::tests()) {
    if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) continue;
    const int before = check::failures();
    test.function();
    ++run;
    std::cout << (check::failures() == before ? "ok    " : "FAILED ") << test.name << "\n";
  }
  std::cout << run << " tests, " << check::failures() << " failed checks\n";
  return run == 0 || check::failures() != 0 ? 1 : 0;
}
