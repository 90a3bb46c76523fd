// A stand-in for the part of TensorRT that drives a plugin: symbolic extents and loggers.
#pragma once

#include <deque>
#include <string>

#include "tensorrt_abi.h"

namespace mock {

// An extent with the value it will have at run time; `constant` is what the builder knows of it.
struct Extent {
  std::int64_t value;
  bool constant;
};

inline const nvinfer1::IDimensionExpr* expression_from(const Extent* extent) {
  return reinterpret_cast<const nvinfer1::IDimensionExpr*>(extent);
}
inline const Extent& extent_from(const nvinfer1::IDimensionExpr* expression) {
  return *reinterpret_cast<const Extent*>(expression);
}

// Evaluates as it builds; the result of constants is a constant.
class Expressions final : public nvinfer1::apiv::VExprBuilder {
 public:
  const nvinfer1::IDimensionExpr* add(Extent extent) {
    extents_.push_back(extent);
    return expression_from(&extents_.back());
  }
  const nvinfer1::IDimensionExpr* constant(std::int64_t value) override {
    return add({value, true});
  }
  const nvinfer1::IDimensionExpr* operation(nvinfer1::DimensionOperation operation,
                                            const nvinfer1::IDimensionExpr& first,
                                            const nvinfer1::IDimensionExpr& second) override {
    const Extent a = extent_from(&first), b = extent_from(&second);
    return add({evaluate(operation, a.value, b.value), a.constant && b.constant});
  }

 private:
  static std::int64_t evaluate(nvinfer1::DimensionOperation operation, std::int64_t a,
                               std::int64_t b) {
    using Operation = nvinfer1::DimensionOperation;
    switch (operation) {
      case Operation::kSUM: return a + b;
      case Operation::kPROD: return a * b;
      case Operation::kMAX: return a > b ? a : b;
      case Operation::kMIN: return a < b ? a : b;
      case Operation::kSUB: return a - b;
      case Operation::kEQUAL: return a == b;
      case Operation::kLESS: return a < b;
      case Operation::kFLOOR_DIV: return a / b;
      case Operation::kCEIL_DIV: return (a + b - 1) / b;
    }
    return -1;
  }

  std::deque<Extent> extents_;  // stable addresses
};

class ExpressionBuilder final : public nvinfer1::IExprBuilder {
 public:
  explicit ExpressionBuilder(Expressions& expressions) { mImpl = &expressions; }
};

}  // namespace mock

// The two generations of the logging interfaces, with the names that TensorRT gives them, since
// the plugin tells them apart by name.
namespace nvinfer1 {

class ILogger {
 public:
  virtual void log(std::int32_t severity, const char* message) noexcept = 0;
  virtual ~ILogger() = default;
};

class ILoggerFinder {
 public:
  virtual ILogger* findLogger() = 0;

 protected:
  virtual ~ILoggerFinder() = default;
};

namespace v_1_0 {

class ILogger : public IVersionedInterface {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"ILogger", 1, 0}; }
  virtual void log(std::int32_t severity, const char* message) noexcept = 0;
};

class ILoggerFinder : public IVersionedInterface {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"ILoggerFinder", 1, 0}; }
  virtual ILogger* findLogger() = 0;
};

}  // namespace v_1_0
}  // namespace nvinfer1

namespace mock {

// Appends "<severity> <message>\n" to a text.
template <class Interface>
class Logger : public Interface {
 public:
  explicit Logger(std::string& text) : text_(text) {}
  void log(std::int32_t severity, const char* message) noexcept override {
    text_ += std::to_string(severity) + " " + message + "\n";
  }

 private:
  std::string& text_;
};

template <class FinderInterface, class LoggerInterface>
class Finder final : public FinderInterface {
 public:
  explicit Finder(LoggerInterface& logger) : logger_(logger) {}
  LoggerInterface* findLogger() override { return &logger_; }

 private:
  LoggerInterface& logger_;
};

struct Unrelated {
  virtual ~Unrelated() = default;
  int number = 7;
};

// As applications write it: a logger that is something else, too.
class LoggerAndMore final : public Logger<nvinfer1::ILogger>, public Unrelated {
 public:
  using Logger::Logger;
};

}  // namespace mock
