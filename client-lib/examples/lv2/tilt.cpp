// Tilt: a small licensed effect as an LV2 plug-in, in C++ on claviger.hpp. Copy from it what you need; all about licensing is
// in licensing.hpp, the demo behaviour of an unlicensed copy in demo.hpp. The same effect in Rust is in ../clap.

#include "demo.hpp"
#include "effect.hpp"
#include "licensing.hpp"

#include <lv2/core/lv2.h>
#include <lv2/worker/worker.h>

#include <algorithm>
#include <cstring>

namespace {

enum Port : std::uint32_t { in_left, in_right, out_left, out_right, tilt, gain, activate, license, activation, ports };

// What the audio thread asks of the host's worker.
enum class Task : std::uint32_t { look, activate };

struct Tilt {
    Tilt(double rate, const LV2_Feature *const *features) : effect(rate), demo(rate) {
        for (; features != nullptr && *features != nullptr; ++features) {
            if (std::strcmp((*features)->URI, LV2_WORKER__schedule) == 0) {
                worker = static_cast<const LV2_Worker_Schedule *>((*features)->data);
            }
        }
    }

    // Without a worker, a license that comes while the plug-in runs is noticed by the next instance.
    void schedule(Task task) const noexcept {
        if (worker != nullptr) worker->schedule_work(worker->handle, sizeof task, &task);
    }

    float control(Port port, float least, float most) const noexcept {
        return buffers[port] == nullptr ? 0.0F : std::clamp(*buffers[port], least, most);
    }

    void show(Port port, float value) const noexcept {
        if (buffers[port] != nullptr) *buffers[port] = value;
    }

    // No allocation, no lock, no system call.
    void run(std::uint32_t frames) noexcept {
        effect.set(control(tilt, -6.0F, 6.0F), control(gain, -24.0F, 24.0F));
        licensing.begin_use();
        if (fresh) effect.settle();
        fresh = false;
        const bool wanted = control(activate, 0.0F, 1.0F) >= 0.5F;
        if (wanted && !asked) schedule(Task::activate);
        asked = wanted;
        show(license, static_cast<float>(licensing.status()));
        show(activation, static_cast<float>(licensing.activation()));
        for (std::uint32_t at = 0; at < frames; ++at) {
            effect.advance();
            const float factor = demo.next([this] {
                const bool licensed = licensing.licensed();
                if (!licensed) schedule(Task::look);
                return licensed;
            });
            for (int channel = 0; channel < Effect::channels; ++channel) {
                const float *input = buffers[in_left + channel];
                float *output = buffers[out_left + channel];
                if (input != nullptr && output != nullptr) output[at] = effect.sample(channel, input[at]) * factor;
            }
        }
    }

    Effect effect;
    Demo demo;
    Licensing licensing;
    const LV2_Worker_Schedule *worker = nullptr;
    float *buffers[ports] = {};
    bool asked = false;
    bool fresh = true;
};

LV2_Handle instantiate(const LV2_Descriptor *, double rate, const char *, const LV2_Feature *const *features) {
    try {
        return new Tilt(rate, features);
    } catch (...) {
        return nullptr;
    }
}

void connect_port(LV2_Handle instance, std::uint32_t port, void *data) {
    if (port < ports) static_cast<Tilt *>(instance)->buffers[port] = static_cast<float *>(data);
}

void start(LV2_Handle instance) { static_cast<Tilt *>(instance)->effect.reset(); }

void run(LV2_Handle instance, std::uint32_t frames) { static_cast<Tilt *>(instance)->run(frames); }

void stop(LV2_Handle instance) { static_cast<Tilt *>(instance)->licensing.end_use(); }

void cleanup(LV2_Handle instance) { delete static_cast<Tilt *>(instance); }

LV2_Worker_Status work(LV2_Handle instance, LV2_Worker_Respond_Function, LV2_Worker_Respond_Handle, std::uint32_t size,
                       const void *data) {
    Task task;
    if (size != sizeof task) return LV2_WORKER_ERR_UNKNOWN;
    std::memcpy(&task, data, sizeof task);
    const Licensing &licensing = static_cast<Tilt *>(instance)->licensing;
    if (task == Task::activate) {
        licensing.activate();
    } else {
        licensing.look();
    }
    return LV2_WORKER_SUCCESS;
}

LV2_Worker_Status work_response(LV2_Handle, std::uint32_t, const void *) { return LV2_WORKER_SUCCESS; }

const void *extension_data(const char *uri) {
    static const LV2_Worker_Interface worker = {work, work_response, nullptr};
    return std::strcmp(uri, LV2_WORKER__interface) == 0 ? &worker : nullptr;
}

const LV2_Descriptor descriptor = {
    "https://example.com/plugins/tilt", instantiate, connect_port, start, run, stop, cleanup, extension_data,
};

}  // namespace

LV2_SYMBOL_EXPORT const LV2_Descriptor *lv2_descriptor(std::uint32_t index) {
    return index == 0 ? &descriptor : nullptr;
}
