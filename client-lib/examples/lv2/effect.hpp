// The effect itself: a tilt equaliser. One one-pole filter splits each channel at 700 Hz; what is below is turned down by as
// much as what is above is turned up. It knows nothing about licenses, and works sample by sample, so its output does not
// depend on the host's block size. The CLAP build has the same in Rust.
#pragma once

#include <cmath>

class Effect {
public:
    static constexpr int channels = 2;

    explicit Effect(double rate) noexcept
        : split_(static_cast<float>(1.0 - std::exp(-2.0 * pi * pivot_hz / rate))),
          glide_(static_cast<float>(1.0 - std::exp(-1.0 / (glide_seconds * rate)))) {}

    // Where to go from here, in decibels.
    void set(float tilt, float gain) noexcept {
        if (tilt == tilt_ && gain == gain_) return;
        tilt_ = tilt;
        gain_ = gain;
        wanted_low_ = std::pow(10.0F, (gain - tilt) / 20.0F);
        wanted_high_ = std::pow(10.0F, (gain + tilt) / 20.0F);
    }

    // Arrives at what was set without gliding: for the first block.
    void settle() noexcept {
        low_gain_ = wanted_low_;
        high_gain_ = wanted_high_;
    }

    // Moves on by one sample; call before the channels of it.
    void advance() noexcept {
        low_gain_ += glide_ * (wanted_low_ - low_gain_);
        high_gain_ += glide_ * (wanted_high_ - high_gain_);
    }

    // One sample of one channel.
    float sample(int channel, float input) noexcept {
        float &low = low_[channel];
        low += split_ * (input - low);
        return low * low_gain_ + (input - low) * high_gain_;
    }

    // Forgets what was heard.
    void reset() noexcept { low_[0] = low_[1] = 0.0F; }

private:
    static constexpr double pi = 3.14159265358979323846;
    static constexpr double pivot_hz = 700.0;
    static constexpr double glide_seconds = 0.02;

    float split_;
    float glide_;
    float tilt_ = 0.0F, gain_ = 0.0F;
    float low_gain_ = 1.0F, high_gain_ = 1.0F;
    float wanted_low_ = 1.0F, wanted_high_ = 1.0F;
    float low_[channels] = {0.0F, 0.0F};
};
