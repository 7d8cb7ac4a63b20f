/* The few declarations of JUCE that the Claviger module uses, so that it can be compiled here at all. Written from JUCE's
 * documentation; no code of JUCE's. That the module compiles against this says that its C++ is C++, not that JUCE agrees. */
#pragma once
#include <cstdint>
#include <string>

#define jassert(condition) ((void) (condition))
#define JUCE_DECLARE_NON_COPYABLE_WITH_LEAK_DETECTOR(Name) \
    Name (const Name&) = delete; \
    Name& operator= (const Name&) = delete;

namespace juce
{
class String
{
public:
    String() = default;
    String (const char* t) : value (t) {}
    static String fromUTF8 (const char* t) { return String (t); }
    std::string toStdString() const { return value; }
    const char* toRawUTF8() const { return value.c_str(); }
    String trim() const { return *this; }

private:
    std::string value;
};

class Time
{
public:
    Time() = default;
    explicit Time (std::int64_t ms) : milliseconds (ms) {}
    std::int64_t toMilliseconds() const { return milliseconds; }

private:
    std::int64_t milliseconds = 0;
};
} // namespace juce
