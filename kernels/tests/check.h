// A test framework of a page: TEST(name) { CHECK(condition); CHECK_EQUAL(a, b); }
// Link test_main.cpp. A name as argument runs the tests whose names contain it.
#pragma once

#include <functional>
#include <iostream>
#include <string>
#include <vector>

namespace check {

struct Test {
  const char* name;
  void (*function)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

struct Registration {
  Registration(const char* name, void (*function)()) { tests().push_back({name, function}); }
};

inline void fail(const char* file, int line, const std::string& what) {
  ++failures();
  std::cerr << file << ":" << line << ": " << what << "\n";
}

template <typename A, typename B>
void check_equal(const A& a, const B& b, const char* text, const char* file, int line) {
  if (a == b) return;
  std::cerr << "  left: " << a << "\n  right: " << b << "\n";
  fail(file, line, text);
}

}  // namespace check

#define TEST(name)                                                        \
  static void test_##name();                                              \
  static const check::Registration registration_##name(#name, test_##name); \
  static void test_##name()

#define CHECK(condition) \
  do {                   \
    if (!(condition)) check::fail(__FILE__, __LINE__, #condition); \
  } while (false)

#define CHECK_EQUAL(a, b) check::check_equal((a), (b), #a " == " #b, __FILE__, __LINE__)
