// All that this plug-in does about its license, in one place to copy from.
//
//   the host makes an instance     Licensing::Licensing: reads files, a few hundred microseconds
//   audio runs                     licensed(): one atomic load
//   a fade of the demo begins      the host's worker looks at the files again: look()
//   "Activate" is switched on      the host's worker asks the daemon to activate: activate()
#pragma once

#include "profile.hpp"

#include <claviger.hpp>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

// How an activation stands, as the plug-in's port shows it.
enum class Activation : std::uint32_t { idle = 0, asked = 1, done = 2, failed = 3 };

class Licensing {
public:
    // A profile or id that is none is a mistake in this plug-in; it then runs as a demo.
    Licensing()
        : license_(claviger::Vendor::compiled_in({profile, sizeof profile - 1}).open("com.example.tilt", "2026-11-22")),
          activation_(std::make_shared<std::atomic<Activation>>(Activation::idle)) {
        // LV2 hosts do not say what they are called.
        license_.describe_use("0.1.0");
    }

    // Audio thread: one atomic load each.
    claviger::Status status() const noexcept { return license_.status(); }
    bool licensed() const noexcept { return license_.licensed(); }
    Activation activation() const noexcept { return activation_->load(std::memory_order_acquire); }

    // Audio is processed (audio thread), and has stopped: uses are counted only where the person has agreed.
    void begin_use() const noexcept { license_.begin_use(); }
    void end_use() const noexcept { license_.end_use(); }

    // A thread of the host that may wait: looks whether a license has come.
    void look() const noexcept {
        if (!licensed()) license_.refresh();
    }

    // The same: asks the daemon. The serial number and unlock code come from a text file of two lines, because this plug-in
    // has no window to type them into; one with a window hands over what was typed, and shows the events' sentences.
    void activate() const noexcept {
        if (activation_->exchange(Activation::asked) == Activation::asked) return;
        try {
            std::string serial, code;
            if (read(serial, code)) {
                const auto heard = [activation = activation_](const claviger::Event &event) {
                    if (event.kind == claviger::Event::Kind::done) *activation = Activation::done;
                    if (event.kind == claviger::Event::Kind::failed) *activation = Activation::failed;
                };
                const char *unlock = code.empty() ? nullptr : code.c_str();
                if (license_.activate(serial.c_str(), unlock, heard) == claviger::Result::ok) return;
            }
        } catch (...) {
            // No memory: nothing was asked.
        }
        *activation_ = Activation::failed;
    }

private:
    // "~/Tilt license.txt", or the file that TILT_LICENSE_FILE names: the serial number, and below it the unlock code.
    static bool read(std::string &serial, std::string &code) {
        std::string name;
        if (const char *file = std::getenv("TILT_LICENSE_FILE")) {
            name = file;
        } else if (const char *home = std::getenv("HOME")) {
            name = std::string(home) + "/Tilt license.txt";
        }
        std::ifstream lines(name);
        if (!std::getline(lines, serial)) return false;
        std::getline(lines, code);
        return true;
    }

    claviger::License license_;
    // Shared with the callback, which may still run for a moment when the plug-in is gone.
    std::shared_ptr<std::atomic<Activation>> activation_;
};
