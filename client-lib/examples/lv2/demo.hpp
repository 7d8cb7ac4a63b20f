// What an unlicensed copy does: once a minute of audio it fades out, rests, and fades in again. Nothing else differs from a
// licensed copy, so that a person can judge the effect, and a project opens the same on a computer without the license.
//
// Documented and exact: a minute begins with 58.5 s of full sound, then 0.5 s fade out, 0.5 s rest, 0.5 s fade in. Fades are
// raised cosines, which do not click. The license is asked for at the start of a fade only: a license that arrives in the
// middle of one lets it end as it began.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

class Demo {
public:
    explicit Demo(double rate) noexcept
        : minute_(samples(60.0, rate)), fade_(samples(0.5, rate)), rest_(samples(0.5, rate)) {}

    // The factor of the next sample. `licensed` is asked once a minute, and is one atomic load.
    template <class Licensed>
    float next(Licensed &&licensed) noexcept {
        const std::uint32_t at = at_;
        at_ = at + 1 == minute_ ? 0 : at + 1;
        const std::uint32_t begin = minute_ - 2 * fade_ - rest_;
        if (at == begin) {
            fading_ = !licensed();
        } else if (at == 0) {
            fading_ = false;
        }
        return fading_ ? faded(at - begin) : 1.0F;
    }

private:
    static std::uint32_t samples(double seconds, double rate) noexcept {
        return static_cast<std::uint32_t>(std::max(1.0, std::round(seconds * rate)));
    }

    float faded(std::uint32_t since) const noexcept {
        const auto part = [this](std::uint32_t n) { return static_cast<double>(n) / fade_; };
        double level = 1.0;
        if (since < fade_) {
            level = part(since + 1);
        } else if (since >= fade_ + rest_) {
            level = 1.0 - std::min(1.0, part(since - fade_ - rest_ + 1));
        }
        return static_cast<float>(0.5 + 0.5 * std::cos(3.14159265358979323846 * level));
    }

    std::uint32_t minute_, fade_, rest_;
    std::uint32_t at_ = 0;
    bool fading_ = false;
};
