// claviger.hpp in use, against the real library: built and run by ../tests/plugin_sdk.rs. Arguments: a profile, the id of a
// product that is licensed, the id of one that is not, the library's folder of activations is found by CLAVIGER_HOME.
// Every CHECK that fails is printed; their number is the exit code.
#include <claviger.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

static int failed = 0;
#define CHECK(what) \
    do { \
        if (!(what)) { \
            std::printf("line %d: %s\n", __LINE__, #what); \
            ++failed; \
        } \
    } while (false)

using claviger::License;
using claviger::Result;
using claviger::Status;
using claviger::Vendor;

static_assert(!std::is_copy_constructible_v<License> && std::is_nothrow_move_constructible_v<License>);
static_assert(!std::is_copy_assignable_v<Vendor> && std::is_nothrow_move_assignable_v<Vendor>);
static_assert(noexcept(std::declval<License &>().status()) && noexcept(std::declval<License &>().reason()));

// Counts how many callables are alive: each that is given away must be destroyed once.
struct Alive {
    static inline std::mutex lock;
    static inline std::condition_variable changed;
    static inline int count = 0;
    Alive() { add(1); }
    Alive(const Alive &) { add(1); }
    Alive(Alive &&) noexcept { add(1); }
    ~Alive() { add(-1); }
    static void add(int n) {
        std::lock_guard<std::mutex> guard(lock);
        count += n;
        changed.notify_all();
    }
    static bool none_left() {
        std::unique_lock<std::mutex> guard(lock);
        return changed.wait_for(guard, std::chrono::seconds(60), [] { return count == 0; });
    }
};

static Result none_describes() {
    const License none;
    none.begin_use();
    none.end_use();
    return none.describe_use("1.0");
}

int main(int argc, char **argv) {
    if (argc != 4) return 99;
    std::ifstream file(argv[1], std::ios::binary);
    const std::string profile{std::istreambuf_iterator<char>(file), {}};

    CHECK(claviger::require() == Result::ok);
    CHECK(clv_abi_require(clv_abi_version() + 1) == CLV_LIBRARY_TOO_OLD);
    CHECK(claviger::sentence(Status::licensed) != "" && claviger::code(Status::licensed) == "licensed");
    CHECK(claviger::sentence(static_cast<Status>(59)) == "");

    CHECK(!Vendor::compiled_in("rubbish"));
    CHECK(!Vendor::compiled_in(std::string_view{}));
    const Vendor vendor = Vendor::compiled_in(profile);
    CHECK(vendor);
    CHECK(vendor.id() == "com.example" && vendor.name() == "Example Audio (keys are public)");

    // What there is none of, or was moved from, answers and does not crash.
    {
        const License none;
        CHECK(!none && !none.licensed() && none.status() == Status::invalid_argument);
        CHECK(none.reason().empty() && none.days_left() == -1 && none.expires() == -1 && none.changes() == 0);
        CHECK(none.entitlements().empty() && !none.has_entitlement("pro") && none.issued() == -1);
        CHECK(none.scope() == claviger::Scope::none && none.revision() == 0);
        CHECK(none.activate("EX-1", nullptr, [alive = Alive()](const claviger::Event &) {}) == Result::invalid_argument);
        CHECK(!none.watch([alive = Alive()](Status) {}));
        CHECK(!vendor.open("not an id") && !vendor.open("com.example.x", "soon") && !vendor.open(nullptr));
        CHECK(!Vendor().open("com.example.x"));
        CHECK(Alive::none_left());
    }

    License license = vendor.open(argv[2], "2026-11-22");
    CHECK(license && license.licensed() && license.status() == Status::licensed);
    CHECK(license.product() == argv[2] && license.licensed_product() == argv[2]);
    CHECK(license.opens() == std::vector<std::string>{argv[2]});
    CHECK(license.kind() == "perpetual" && license.serial() == "EX-4XQ7K-2M9TB-0RHWE");
    CHECK((license.entitlements() == std::vector<std::string>{"pro", "strings"}));
    CHECK(license.has_entitlement("pro") && !license.has_entitlement("brass") && !license.has_entitlement(nullptr));
    CHECK(license.product_name() == "Synth" && license.reason_code() == "licensed");
    CHECK(license.updates_until() == "2027-01-31" && license.paid_through().empty());
    CHECK(license.machine().size() > 10 && license.activation().size() > 10);
    CHECK(license.issued() == 1 && license.revision() == 3 && license.days_left() == -1);
    CHECK(license.scope() == claviger::Scope::user);
    CHECK(license.refresh() == Status::licensed);

    CHECK(license.describe_use("1.0", "REAPER", nullptr) == Result::ok);
    CHECK(none_describes() == Result::invalid_argument);
    license.begin_use();
    license.end_use();

    License moved = std::move(license);
    CHECK(!license && moved.licensed());
    license = std::move(moved);
    license = std::move(*&license);
    CHECK(license.licensed());

    const License other = vendor.open(argv[3]);
    CHECK(other && !other.licensed() && other.status() == Status::not_activated);
    CHECK(!other.reason().empty() && other.serial().empty() && other.opens().empty());
    // The computer has its name before anything is activated on it.
    CHECK(other.machine() == license.machine());

    // No daemon is there: the failure arrives on a thread of the library, with a code and advice, and an exception of
    // ours goes nowhere.
    {
        struct Heard {
            std::mutex lock;
            std::condition_variable changed;
            bool failed = false;
            std::string code, advice;
        };
        const auto heard = std::make_shared<Heard>();
        const auto hear = [heard, alive = Alive()](const claviger::Event &event) {
            {
                std::lock_guard<std::mutex> guard(heard->lock);
                heard->failed = event.kind == claviger::Event::Kind::failed;
                heard->code = event.code;
                heard->advice = event.advice;
                heard->changed.notify_all();
            }
            throw std::runtime_error("must not leave");
        };
        CHECK(other.activate("EX-4XQ7K-2M9TB-0RHWE", "code", hear) == Result::ok);
        std::unique_lock<std::mutex> guard(heard->lock);
        CHECK(heard->changed.wait_for(guard, std::chrono::seconds(60), [&] { return heard->failed; }));
        CHECK(heard->code == "daemon_not_running" && !heard->advice.empty());
    }
    CHECK(Alive::none_left());

    // Closed with calls in flight: each callable is destroyed all the same, once.
    for (int round = 0; round < 50; ++round) {
        const License brief = vendor.open(argv[3]);
        CHECK(brief.deactivate([alive = Alive()](const claviger::Event &) {}) == Result::ok);
        CHECK(brief.activate("EX-1", "code", [alive = Alive()](const claviger::Event &) {}) == Result::ok);
        const auto watch = brief.watch([alive = Alive()](Status) { throw 1; });
        CHECK(watch);
    }
    CHECK(Alive::none_left());

    std::printf("%d failed\n", failed);
    return failed;
}
