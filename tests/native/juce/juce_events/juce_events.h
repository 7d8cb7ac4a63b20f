/* See juce_core.h beside this. */
#pragma once
#include <functional>

namespace juce
{
class ChangeBroadcaster
{
public:
    virtual ~ChangeBroadcaster() = default;
    void sendChangeMessage() { ++sent; }
    int sent = 0;
};

class Timer
{
public:
    virtual ~Timer() = default;
    virtual void timerCallback() = 0;
    void startTimer (int) {}
    void stopTimer() {}
};

class MessageManager
{
public:
    static bool callAsync (std::function<void()> call)
    {
        call();
        return true;
    }
};
} // namespace juce
