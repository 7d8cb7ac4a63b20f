// A plug-in's use of the JUCE module, against the declarations beside this. See juce/juce_core/juce_core.h for what that shows.
#include "../../client-lib/juce/claviger_unlocking/claviger_unlocking.h"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <mutex>

int main(int argc, char **argv) {
    if (argc != 3) return 99;
    std::ifstream file(argv[1], std::ios::binary);
    const std::string profile{std::istreambuf_iterator<char>(file), {}};
    claviger_juce::UnlockStatus status(profile.c_str(), argv[2], "2026-11-22");
    status.describeUse("1.0", "REAPER");
    status.beginUse();
    status.endUse();
    std::mutex lock;
    std::condition_variable changed;
    std::string code;
    status.attemptUnlock("EX-4XQ7K-2M9TB-0RHWE", "code", [&](const claviger_juce::UnlockStatus::UnlockResult &result) {
        std::lock_guard<std::mutex> guard(lock);
        code = result.errorCode.toStdString();
        changed.notify_all();
    });
    std::unique_lock<std::mutex> guard(lock);
    changed.wait_for(guard, std::chrono::seconds(60), [&] { return !code.empty(); });
    std::printf("%d %d %s %s\n", status.isUnlocked(), status.getDaysLeft(), status.getSerialNumber().toRawUTF8(), code.c_str());
    return status.isUnlocked() == status.refresh() && status.hasFeature("pro") == status.isUnlocked() ? 0 : 1;
}
