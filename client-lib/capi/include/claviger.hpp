// The Claviger client library for C++17: claviger.h with handles that close themselves. Nothing but this header.
//
//   static const claviger::Vendor vendor = claviger::Vendor::compiled_in(profile);   // the text of your .clvprofile
//   claviger::License license = vendor.open("com.example.synth", "2026-11-22");
//   if (license.licensed()) { ... }                                                   // audio thread: one atomic load
//
// Every function is noexcept, and no exception of yours gets into the library: one that leaves a callback ends there.
// Where there is no memory, texts are empty and callbacks are not taken. An empty handle (of a vendor whose profile is
// none, of a product id that is none, or moved from) answers as NULL does in claviger.h: it licenses nothing, and nothing
// crashes. Ownership, threads and waits are those of docs/abi.md; functions marked "audio" may be called from an audio
// thread, the others may not.
//
// Plug-ins define CLV_STATIC and link libclaviger.a (the CMake target claviger::claviger-static and claviger-static.pc do
// both). Two plug-ins with two versions of this header live in one process: everything here is inline in a namespace of
// hidden visibility then.
#pragma once

#include "claviger.h"

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define CLV_TRY try
#define CLV_CATCH catch (...)
#else
#define CLV_TRY if (true)
#define CLV_CATCH else
#endif

#if defined(CLV_STATIC) && (defined(__GNUC__) || defined(__clang__))
#pragma GCC visibility push(hidden)
#endif

namespace claviger {

// Why a product runs or does not. Numbers are those of claviger.h; treat one that is not listed by its range.
enum class Status : std::uint32_t {
    unknown = CLV_STATUS_UNKNOWN,
    licensed = CLV_STATUS_LICENSED,
    pending = CLV_STATUS_PENDING,
    sunset = CLV_STATUS_SUNSET,
    licensed_clock_set_back = CLV_STATUS_LICENSED_CLOCK_SET_BACK,
    not_activated = CLV_STATUS_NOT_ACTIVATED,
    expired = CLV_STATUS_EXPIRED,
    updates_ended = CLV_STATUS_UPDATES_ENDED,
    given_up = CLV_STATUS_GIVEN_UP,
    other_machine = CLV_STATUS_OTHER_MACHINE,
    replaced = CLV_STATUS_REPLACED,
    suspended = CLV_STATUS_SUSPENDED,
    revoked = CLV_STATUS_REVOKED,
    released = CLV_STATUS_RELEASED,
    transferred = CLV_STATUS_TRANSFERRED,
    clock_set_back = CLV_STATUS_CLOCK_SET_BACK,
    damaged = CLV_STATUS_DAMAGED,
    untrusted = CLV_STATUS_UNTRUSTED,
    key_compromised = CLV_STATUS_KEY_COMPROMISED,
    state_unreachable = CLV_STATUS_STATE_UNREACHABLE,
    no_machine_id = CLV_STATUS_NO_MACHINE_ID,
    invalid_argument = CLV_INVALID_ARGUMENT,
    internal = CLV_INTERNAL,
};

// How a call went.
enum class Result : std::uint32_t {
    ok = CLV_OK,
    invalid_argument = CLV_INVALID_ARGUMENT,
    internal = CLV_INTERNAL,
    no_thread = CLV_NO_THREAD,
    library_too_old = CLV_LIBRARY_TOO_OLD,
};

// Where the certificate was found.
enum class Scope : std::uint32_t { none = CLV_SCOPE_NONE, machine = CLV_SCOPE_MACHINE, user = CLV_SCOPE_USER };

// Whether to run fully with this status. Audio.
inline bool is_licensed(Status status) noexcept {
    return clv_status_is_licensed(static_cast<std::uint32_t>(status));
}

// Whether the library that is linked has all that this header asks for. Audio.
inline Result require() noexcept { return static_cast<Result>(clv_abi_require(CLV_ABI_VERSION)); }

namespace detail {

// A text out of a function that wants a buffer and its length.
template <class Ask>
std::string text(Ask &&ask) noexcept {
    CLV_TRY {
        std::size_t length = 0;
        if (ask(nullptr, &length) != CLV_OK) return {};
        // It may grow between the two questions.
        for (int tries = 0; tries < 8; ++tries) {
            std::string value(length + 1, '\0');
            length = value.size();
            const std::uint32_t answer = ask(value.data(), &length);
            if (answer == CLV_OK) {
                value.resize(length);
                return value;
            }
            if (answer != CLV_BUFFER_TOO_SMALL) return {};
        }
    }
    CLV_CATCH {}
    return {};
}

// The lines of a text.
inline std::vector<std::string> lines(std::string_view all) noexcept {
    std::vector<std::string> out;
    CLV_TRY {
        while (!all.empty()) {
            const std::size_t end = all.find('\n');
            out.emplace_back(all.substr(0, end));
            if (end == std::string_view::npos) break;
            all.remove_prefix(end + 1);
        }
    }
    CLV_CATCH { out.clear(); }
    return out;
}

// A handle of one kind.
template <class Handle, void (*close)(Handle *)>
class Owned {
public:
    Owned() noexcept = default;
    explicit Owned(Handle *handle) noexcept : handle_(handle) {}
    Owned(Owned &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Owned &operator=(Owned &&other) noexcept {
        if (this != &other) {
            close(handle_);
            handle_ = std::exchange(other.handle_, nullptr);
        }
        return *this;
    }
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
    ~Owned() { close(handle_); }

    Handle *get() const noexcept { return handle_; }

private:
    Handle *handle_ = nullptr;
};

// A callable on the heap, which the library releases when it is done with it.
template <class Call>
void *keep(Call &&call) noexcept {
    using Kept = std::decay_t<Call>;
    CLV_TRY { return new (std::nothrow) Kept(std::forward<Call>(call)); }
    CLV_CATCH { return nullptr; }
}

template <class Kept>
void release(void *user) {
    CLV_TRY { delete static_cast<Kept *>(user); }
    CLV_CATCH {}
}

}  // namespace detail

// A sentence for people about a status, and its stable word.
inline std::string sentence(Status status) noexcept {
    return detail::text([status](char *buffer, std::size_t *length) {
        return clv_status_text(static_cast<std::uint32_t>(status), buffer, length);
    });
}
inline std::string code(Status status) noexcept {
    return detail::text([status](char *buffer, std::size_t *length) {
        return clv_status_code(static_cast<std::uint32_t>(status), buffer, length);
    });
}

// News of an activation or of giving one up. The texts live during the call.
struct Event {
    enum class Kind : std::uint32_t {
        progress = CLV_EVENT_PROGRESS,
        done = CLV_EVENT_DONE,
        failed = CLV_EVENT_FAILED,
    };
    Kind kind;
    Status status;
    const char *code;
    const char *message;
    const char *advice;
};

// Tells of changes until it is destroyed.
class Watch {
public:
    Watch() noexcept = default;
    explicit operator bool() const noexcept { return handle_.get() != nullptr; }

private:
    friend class License;
    explicit Watch(clv_watch *handle) noexcept : handle_(handle) {}
    detail::Owned<clv_watch, clv_watch_close> handle_;
};

// An opened product: one a plug-in instance.
class License {
public:
    License() noexcept = default;
    explicit operator bool() const noexcept { return handle_.get() != nullptr; }
    clv_license *handle() const noexcept { return handle_.get(); }

    // One atomic load. Audio.
    Status status() const noexcept { return static_cast<Status>(clv_license_status(handle_.get())); }
    // Whether to run fully. Audio.
    bool licensed() const noexcept { return is_licensed(status()); }
    // Rises with every change: compare it in a timer. Audio.
    std::uint64_t changes() const noexcept { return clv_license_changes(handle_.get()); }

    // Reads the files again. Never takes a license away.
    Status refresh() const noexcept { return static_cast<Status>(clv_license_refresh(handle_.get())); }

    // Why, in a sentence for people with what to do next, and as a stable word.
    std::string reason() const noexcept { return text(CLV_TEXT_REASON); }
    std::string reason_code() const noexcept { return text(CLV_TEXT_REASON_CODE); }
    std::string product() const noexcept { return text(CLV_TEXT_PRODUCT); }
    // This computer as the vendor knows it, licensed or not.
    std::string machine() const noexcept { return text(CLV_TEXT_MACHINE); }

    // What the certificate says; empty, -1 or 0 where there is none.
    std::string serial() const noexcept { return text(CLV_TEXT_SERIAL); }
    std::string product_name() const noexcept { return text(CLV_TEXT_PRODUCT_NAME); }
    std::string licensed_product() const noexcept { return text(CLV_TEXT_LICENSED_PRODUCT); }
    std::vector<std::string> opens() const noexcept { return detail::lines(text(CLV_TEXT_OPENS)); }
    std::string kind() const noexcept { return text(CLV_TEXT_KIND); }
    std::string updates_until() const noexcept { return text(CLV_TEXT_UPDATES_UNTIL); }
    std::string paid_through() const noexcept { return text(CLV_TEXT_PAID_THROUGH); }
    std::string activation() const noexcept { return text(CLV_TEXT_ACTIVATION); }
    std::int64_t issued() const noexcept { return clv_license_issued(handle_.get()); }
    std::uint32_t revision() const noexcept { return clv_license_revision(handle_.get()); }
    std::int64_t expires() const noexcept { return clv_license_expires(handle_.get()); }
    std::int32_t days_left() const noexcept { return clv_license_days_left(handle_.get()); }
    Scope scope() const noexcept { return static_cast<Scope>(clv_license_scope(handle_.get())); }

    // Features that the license opens.
    std::vector<std::string> entitlements() const noexcept { return detail::lines(text(CLV_TEXT_ENTITLEMENTS)); }
    bool has_entitlement(const char *name) const noexcept {
        return clv_license_has_entitlement(handle_.get(), name);
    }

    // Asks for an activation and returns at once. `heard(const Event &)` is called on a thread of the library, and not
    // after this license is destroyed; it is destroyed on that thread, or before this returns where that fails.
    // `unlock_code`: NULL where the serial number has none.
    template <class Heard>
    Result activate(const char *serial, const char *unlock_code, Heard &&heard) const noexcept {
        void *kept = detail::keep(std::forward<Heard>(heard));
        if (kept == nullptr) return Result::internal;
        using Kept = std::decay_t<Heard>;
        return static_cast<Result>(clv_license_activate(handle_.get(), serial, unlock_code, tell<Kept>,
                                                        detail::release<Kept>, kept));
    }

    // Asks to give the activation up. This process stays licensed until it ends.
    template <class Heard>
    Result deactivate(Heard &&heard) const noexcept {
        void *kept = detail::keep(std::forward<Heard>(heard));
        if (kept == nullptr) return Result::internal;
        using Kept = std::decay_t<Heard>;
        return static_cast<Result>(
            clv_license_deactivate(handle_.get(), tell<Kept>, detail::release<Kept>, kept));
    }

    // Calls `changed(Status)` on a thread of the library whenever something changes, until the watch is destroyed.
    // An empty watch where no thread can be started.
    template <class Changed>
    Watch watch(Changed &&changed) const noexcept {
        void *kept = detail::keep(std::forward<Changed>(changed));
        if (kept == nullptr) return {};
        using Kept = std::decay_t<Changed>;
        clv_watch *watch = nullptr;
        clv_license_watch(handle_.get(), alter<Kept>, detail::release<Kept>, kept, &watch);
        return Watch(watch);
    }

    // Audio is processed: call it with every block. Counted only where a person has agreed; one atomic load otherwise. Audio.
    void begin_use() const noexcept { clv_license_begin_use(handle_.get()); }
    // The instance has stopped processing; destroying the license does it too.
    void end_use() const noexcept { clv_license_end_use(handle_.get()); }
    // What a use is told with: the product's version, and what the host calls itself. Each may be NULL.
    Result describe_use(const char *version, const char *host = nullptr, const char *host_version = nullptr) const noexcept {
        return static_cast<Result>(clv_license_describe_use(handle_.get(), version, host, host_version));
    }

private:
    friend class Vendor;
    explicit License(clv_license *handle) noexcept : handle_(handle) {}

    std::string text(std::uint32_t which) const noexcept {
        return detail::text([this, which](char *buffer, std::size_t *length) {
            return clv_license_text(handle_.get(), which, buffer, length);
        });
    }

    template <class Kept>
    static void tell(void *user, const clv_news *news) {
        CLV_TRY {
            const Event event = {static_cast<Event::Kind>(news->kind), static_cast<Status>(news->status), news->code,
                                 news->message, news->advice};
            (*static_cast<Kept *>(user))(event);
        }
        CLV_CATCH {}
    }

    template <class Kept>
    static void alter(void *user, std::uint32_t status) {
        CLV_TRY { (*static_cast<Kept *>(user))(static_cast<Status>(status)); }
        CLV_CATCH {}
    }

    detail::Owned<clv_license, clv_license_close> handle_;
};

// A vendor, by the profile compiled into the plug-in.
class Vendor {
public:
    Vendor() noexcept = default;
    explicit operator bool() const noexcept { return handle_.get() != nullptr; }
    clv_vendor *handle() const noexcept { return handle_.get(); }

    // Makes the vendor known whose profile (the text of its .clvprofile) this is; empty when it is none, or when the
    // library is too old for this header.
    static Vendor compiled_in(std::string_view profile) noexcept {
        clv_vendor *vendor = nullptr;
        if (require() == Result::ok) clv_vendor_open(profile.data(), profile.size(), &vendor);
        return Vendor(vendor);
    }

    std::string id() const noexcept { return text(CLV_VENDOR_TEXT_ID); }
    std::string name() const noexcept { return text(CLV_VENDOR_TEXT_NAME); }

    // Opens a product, on the spot. `released`: the date of this release, or NULL where updates are not limited.
    License open(const char *product, const char *released = nullptr) const noexcept {
        clv_license *license = nullptr;
        clv_license_open(handle_.get(), product, released, &license);
        return License(license);
    }

private:
    explicit Vendor(clv_vendor *handle) noexcept : handle_(handle) {}

    std::string text(std::uint32_t which) const noexcept {
        return detail::text([this, which](char *buffer, std::size_t *length) {
            return clv_vendor_text(handle_.get(), which, buffer, length);
        });
    }

    detail::Owned<clv_vendor, clv_vendor_close> handle_;
};

}  // namespace claviger

#if defined(CLV_STATIC) && (defined(__GNUC__) || defined(__clang__))
#pragma GCC visibility pop
#endif

#undef CLV_TRY
#undef CLV_CATCH
