// Many threads of a host at once, against the real library: they open, ask, refresh, activate, watch and close the same products
// while the file of the certificate is replaced, torn and taken away under them. Built and run by ../tests/plugin_sdk.rs, and by
// ../tests/sanitizers.rs with the sanitizers' eyes. Arguments: a profile, a product that is licensed, one that is not, the file
// of the certificate, and how many rounds each thread goes. Every CHECK that fails is printed; their number is the exit code. With
// guard.c preloaded it also says what was counted in the calls of the audio thread.
#include <claviger.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

static std::atomic<int> failed{0};
#define CHECK(what) \
    do { \
        if (!(what)) { \
            std::printf("line %d: %s\n", __LINE__, #what); \
            ++failed; \
        } \
    } while (false)

// guard.c, where it is preloaded.
extern "C" {
void guard_enter(void) __attribute__((weak));
void guard_leave(void) __attribute__((weak));
unsigned long guard_count(void) __attribute__((weak));
}
static std::atomic<long> counted{-1};

// What was given to the library as `user`, and is not released yet.
static std::atomic<int> held{0};
static std::atomic<long> heard{0};

namespace {
struct User {
    clv_license *closes = nullptr;
};
}  // namespace

static void *user(clv_license *closes = nullptr) {
    ++held;
    return new User{closes};
}

static void release(void *pointer) {
    delete static_cast<User *>(pointer);
    --held;
}

// An event closes the license that it is about, where it was told to: what the documentation allows.
static void on_event(void *pointer, const clv_news *news) {
    heard += static_cast<long>(std::strlen(news->code) + std::strlen(news->message) + std::strlen(news->advice));
    User *const mine = static_cast<User *>(pointer);
    if (mine->closes != nullptr && news->kind != CLV_EVENT_PROGRESS) {
        clv_license *const license = mine->closes;
        mine->closes = nullptr;
        clv_license_close(license);
    }
}

static void on_status(void *, std::uint32_t status) { heard += status; }

static std::string text(const clv_license *license, std::uint32_t which) {
    char buffer[512];
    std::size_t length = sizeof buffer;
    const std::uint32_t answer = clv_license_text(license, which, buffer, &length);
    CHECK(answer == CLV_OK && length < sizeof buffer && buffer[length] == '\0');
    return answer == CLV_OK ? std::string(buffer, length) : std::string();
}

static clv_license *open(const clv_vendor *vendor, const char *product) {
    clv_license *license = nullptr;
    CHECK(clv_license_open(vendor, product, "2026-11-22", &license) == CLV_OK);
    return license;
}

int main(int argc, char **argv) {
    if (argc != 6) return 99;
    std::ifstream file(argv[1], std::ios::binary);
    const std::string profile{std::istreambuf_iterator<char>(file), {}};
    const char *const product = argv[2], *const other = argv[3];
    const std::string certificate = argv[4];
    const int rounds = std::atoi(argv[5]);
    std::ifstream good_file(certificate, std::ios::binary);
    const std::string good{std::istreambuf_iterator<char>(good_file), {}};

    clv_vendor *vendor = nullptr;
    CHECK(clv_vendor_open(profile.data(), profile.size(), &vendor) == CLV_OK);
    // One handle that everybody uses, and one of a product that nobody has looked at yet.
    clv_license *const shared = open(vendor, other);
    std::atomic<bool> over{false};

    // Writes it whole, torn, of noise, and not at all, the careless way: over the file that is being read.
    std::thread vandal([&] {
        for (unsigned turn = 0; !over; ++turn) {
            if (turn % 4 == 3) {
                std::remove(certificate.c_str());
                continue;
            }
            std::ofstream to(certificate, std::ios::binary | std::ios::trunc);
            if (turn % 4 == 0) to << good;
            if (turn % 4 == 1) to << good.substr(0, turn % (good.size() + 1));
            if (turn % 4 == 2) to << std::string(1 + turn % 5000, static_cast<char>(turn));
        }
        std::ofstream(certificate, std::ios::binary | std::ios::trunc) << good;
    });

    // The audio thread: nothing but what it may call. A lock that nobody else holds is taken without a call that anyone could
    // count; here all others hold them all the time, so that whoever takes one has to wait, and the preloaded guard sees it.
    std::thread audio([&] {
        std::uint64_t changes = 0;
        const bool locks = std::getenv("CT_LOCKS") != nullptr;
        while (!over) {
            if (guard_enter) guard_enter();
            const std::uint32_t status = clv_license_status(shared);
            clv_license_begin_use(shared);
            const std::uint64_t now = clv_license_changes(shared);
            const bool run = clv_status_is_licensed(status);
            // So that a guard that sees nothing is seen.
            if (locks) clv_license_refresh(shared);
            if (guard_leave) guard_leave();
            CHECK(status == CLV_STATUS_NOT_ACTIVATED && !run && now >= changes);
            changes = now;
        }
        if (guard_count) counted = static_cast<long>(guard_count());
    });

    std::vector<std::thread> crowd;
    for (int number = 0; number < 6; ++number) {
        crowd.emplace_back([&, number] {
            bool licensed = false;
            for (int round = 0; round < rounds; ++round) {
                clv_vendor *mine = nullptr;
                CHECK(clv_vendor_open(profile.data(), profile.size(), &mine) == CLV_OK);
                clv_license *const license = open(mine, product);
                // A license does not need its vendor's handle.
                clv_vendor_close(mine);
                const std::uint32_t status = clv_license_refresh(license);
                CHECK(!licensed || clv_status_is_licensed(status));
                licensed |= clv_status_is_licensed(status);
                if (licensed) CHECK(text(license, CLV_TEXT_SERIAL) == "EX-4XQ7K-2M9TB-0RHWE");
                CHECK(!text(license, CLV_TEXT_REASON).empty() && text(license, CLV_TEXT_PRODUCT) == product);
                CHECK(clv_license_describe_use(license, "1.0", "A host", "1") == CLV_OK);
                clv_license_has_entitlement(license, "pro");
                clv_license_days_left(license);
                clv_license_end_use(shared);
                if ((round + number) % 8 == 0) {
                    clv_watch *watch = nullptr;
                    CHECK(clv_license_watch(shared, on_status, release, user(), &watch) == CLV_OK);
                    clv_license_refresh(shared);
                    clv_watch_close(watch);
                }
                if ((round + number) % 4 == 0) {
                    CHECK(clv_license_deactivate(shared, on_event, release, user()) == CLV_OK);
                }
                if ((round + number) % 8 == 4) {
                    // Closed by its own event.
                    CHECK(clv_license_activate(license, "EX-1", "code", on_event, release, user(license)) == CLV_OK);
                } else if (round % 4 == 1) {
                    // Closed while its call is under way.
                    CHECK(clv_license_activate(license, "EX-1", nullptr, on_event, release, user()) == CLV_OK);
                    clv_license_close(license);
                } else {
                    clv_license_close(license);
                }
            }
        });
    }
    for (std::thread &one : crowd) one.join();
    over = true;
    vandal.join();
    audio.join();
    clv_license_close(shared);
    clv_vendor_close(vendor);
    // What the library still runs ends, and lets go of what it was given.
    for (long tries = 0; held != 0; ++tries) {
        if (tries > 1'000'000'000) {
            CHECK(held == 0);
            break;
        }
        std::this_thread::yield();
    }
    std::printf("%d failed, %ld heard, %ld guarded\n", failed.load(), heard.load(), counted.load());
    return failed > 99 ? 99 : failed.load();
}
