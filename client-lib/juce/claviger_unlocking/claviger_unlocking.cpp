#ifdef CLAVIGER_UNLOCKING_H_INCLUDED
 /* JUCE modules are compiled by themselves, before anything includes them. */
 #error "Incorrect use of JUCE cpp file"
#endif

#include "claviger_unlocking.h"

namespace claviger_juce
{

namespace
{
    juce::String text (const std::string& value) { return juce::String::fromUTF8 (value.c_str()); }
}

UnlockStatus::UnlockStatus (const juce::String& vendorProfile, const juce::String& productID, const juce::String& releaseDate)
{
    const auto vendor = claviger::Vendor::compiled_in (vendorProfile.toStdString());
    // A mistake in this program, not the person's: the profile is none, or the library is older than its header.
    jassert (vendor);
    const auto released = releaseDate.toStdString();
    license = vendor.open (productID.toRawUTF8(), released.empty() ? nullptr : released.c_str());
    jassert (license);
    seen = license.changes();
    // A counter is compared once a second: no thread is started for it.
    startTimer (1000);
}

UnlockStatus::~UnlockStatus()
{
    stopTimer();
}

juce::String UnlockStatus::getMessage() const { return text (license.reason()); }

juce::Time UnlockStatus::getExpiryTime() const
{
    const auto seconds = license.expires();
    return seconds < 0 ? juce::Time() : juce::Time (seconds * 1000);
}

juce::String UnlockStatus::getSerialNumber() const { return text (license.serial()); }

bool UnlockStatus::hasFeature (const juce::String& name) const { return license.has_entitlement (name.toRawUTF8()); }

juce::String UnlockStatus::getLocalMachineID() const { return text (license.machine()); }

bool UnlockStatus::refresh() { return claviger::is_licensed (license.refresh()); }

std::function<void (const claviger::Event&)> UnlockStatus::onMessageThread (Callback callback)
{
    return [stillThere = std::weak_ptr<int> (alive), callback = std::move (callback)] (const claviger::Event& event)
    {
        if (event.kind == claviger::Event::Kind::progress || callback == nullptr)
            return;

        UnlockResult result;
        result.succeeded = event.kind == claviger::Event::Kind::done;
        result.errorCode = juce::String::fromUTF8 (event.code);
        result.message = juce::String::fromUTF8 (event.message);
        result.advice = juce::String::fromUTF8 (event.advice);
        juce::MessageManager::callAsync ([stillThere, callback, result]
        {
            if (stillThere.lock() != nullptr)
                callback (result);
        });
    };
}

void UnlockStatus::attemptUnlock (const juce::String& serialNumber, const juce::String& unlockCode, Callback callback)
{
    const auto code = unlockCode.trim().toStdString();
    const auto asked = license.activate (serialNumber.trim().toRawUTF8(), code.empty() ? nullptr : code.c_str(),
                                         onMessageThread (callback));

    if (asked != claviger::Result::ok && callback != nullptr)
        callback ({ false, "internal", "The activation could not be begun.", "Try again." });
}

void UnlockStatus::giveUp (Callback callback)
{
    if (license.deactivate (onMessageThread (callback)) != claviger::Result::ok && callback != nullptr)
        callback ({ false, "internal", "Giving up the activation could not be begun.", "Try again." });
}

void UnlockStatus::describeUse (const juce::String& pluginVersion, const juce::String& host)
{
    license.describe_use (pluginVersion.toRawUTF8(), host.toRawUTF8());
}

void UnlockStatus::timerCallback()
{
    const auto now = license.changes();

    if (now != seen)
    {
        seen = now;
        sendChangeMessage();
    }
}

} // namespace claviger_juce
