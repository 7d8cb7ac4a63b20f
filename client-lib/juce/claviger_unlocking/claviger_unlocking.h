/*
 BEGIN_JUCE_MODULE_DECLARATION

  ID:                 claviger_unlocking
  vendor:             claviger
  version:            0.1.0
  name:               Claviger unlocking
  description:        Is this plug-in licensed on this computer? An unlock status on the Claviger client library
  website:            https://claviger.example
  license:            MIT OR Apache-2.0
  minimumCppStandard: 17

  dependencies:       juce_core, juce_events

 END_JUCE_MODULE_DECLARATION
*/
#pragma once
#define CLAVIGER_UNLOCKING_H_INCLUDED

#include <juce_core/juce_core.h>
#include <juce_events/juce_events.h>

#include <claviger.hpp>

#include <functional>
#include <memory>

namespace claviger_juce
{

/** Says whether a product is unlocked on this computer; the counterpart of juce::OnlineUnlockStatus.

    Make one in your AudioProcessor. It answers from files, at once: no web request, no e-mail address, no password, and
    nothing of your own to save. It is a ChangeBroadcaster: your editor is told, on the message thread, when the status has
    changed.
*/
class UnlockStatus : public juce::ChangeBroadcaster,
                     private juce::Timer
{
public:
    /** What came of an activation or of giving one up. */
    struct UnlockResult
    {
        bool succeeded = false;
        /** A stable word for programs: "no_seat_left", "daemon_not_running" ... Empty on success. */
        juce::String errorCode;
        /** A sentence for people. */
        juce::String message;
        /** What to do next; may be empty. */
        juce::String advice;
    };

    using Callback = std::function<void (const UnlockResult&)>;

    /** @param vendorProfile  the text of your .clvprofile, as a string in your program
        @param productID      "com.example.synth"
        @param releaseDate    when this version was released, "2026-11-22"; empty where updates are not limited
    */
    UnlockStatus (const juce::String& vendorProfile, const juce::String& productID, const juce::String& releaseDate = {});
    ~UnlockStatus() override;

    /** Whether to run fully: one atomic load. Call it from the audio thread as often as you like. Once true, it stays true
        until the process ends. */
    bool isUnlocked() const noexcept { return license.licensed(); }

    /** The status behind it. Any thread. */
    claviger::Status getStatus() const noexcept { return license.status(); }

    /** Why the status is what it is, with what to do next: a sentence for your editor. Message thread. */
    juce::String getMessage() const;

    /** When a subscription or trial ends; a default Time (0) where there is no end. Message thread. */
    juce::Time getExpiryTime() const;

    /** Days left of a subscription or trial; -1 where there is no end. Message thread. */
    int getDaysLeft() const noexcept { return license.days_left(); }

    /** The serial number; empty while nothing is activated. Message thread. */
    juce::String getSerialNumber() const;

    /** Whether the license opens a feature. Message thread. */
    bool hasFeature (const juce::String& name) const;

    /** This computer as the vendor knows it, unlocked or not: for support. Message thread. */
    juce::String getLocalMachineID() const;

    /** Looks at the files again: for a "check again" button. Message thread. */
    bool refresh();

    /** Asks for an activation and returns at once. The callback comes on the message thread, unless this object is gone by
        then. Message thread. */
    void attemptUnlock (const juce::String& serialNumber, const juce::String& unlockCode, Callback callback);

    /** Gives the activation up, so that its seat is free for another computer. This process stays unlocked until it ends. */
    void giveUp (Callback callback);

    /** In processBlock: uses are counted only where the person has agreed to it; otherwise an atomic load. */
    void beginUse() const noexcept { license.begin_use(); }
    /** In releaseResources. */
    void endUse() const noexcept { license.end_use(); }
    /** Once, in your processor's constructor: your version, and juce::PluginHostType().getHostDescription(). */
    void describeUse (const juce::String& pluginVersion, const juce::String& host);

private:
    void timerCallback() override;
    std::function<void (const claviger::Event&)> onMessageThread (Callback callback);

    claviger::License license;
    std::uint64_t seen = 0;
    /** Callbacks look whether this is still there: it goes when this object does. */
    std::shared_ptr<int> alive = std::make_shared<int> (0);

    JUCE_DECLARE_NON_COPYABLE_WITH_LEAK_DETECTOR (UnlockStatus)
};

} // namespace claviger_juce
