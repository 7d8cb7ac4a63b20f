/* The C ABI of the Claviger client library. Made by cbindgen from client-lib/capi/src; do not edit.
 * Ownership, NULL, threads, panics and loader locks are settled in docs/abi.md.
 *
 * Define CLV_STATIC before including this when linking libclaviger.a into a plug-in: the functions are then hidden in
 * the plug-in, and two copies of the library live in one process side by side. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(CLV_STATIC) && (defined(__GNUC__) || defined(__clang__))
#pragma GCC visibility push(hidden)
#endif

// The version of this ABI. It rises when something is added; what is there never changes and never goes away.
#define CLV_ABI_VERSION 1

// Done.
#define CLV_OK 0

// An argument was NULL, not UTF-8, or means nothing to the library.
#define CLV_INVALID_ARGUMENT 60

// A mistake inside the library: please report it.
#define CLV_INTERNAL 61

// The buffer is too small; the length that is needed was written.
#define CLV_BUFFER_TOO_SMALL 62

// The operating system starts no thread for the work.
#define CLV_NO_THREAD 63

// The library is older than what asked for it.
#define CLV_LIBRARY_TOO_OLD 64

// Nothing is known yet.
#define CLV_STATUS_UNKNOWN 0

// Licensed.
#define CLV_STATUS_LICENSED 1

// A slow disk is being read: treat as licensed. It resolves within 30 seconds.
#define CLV_STATUS_PENDING 2

// The vendor has made the product free.
#define CLV_STATUS_SUNSET 3

// Licensed; the clock was set back and a refresh is needed within seven days.
#define CLV_STATUS_LICENSED_CLOCK_SET_BACK 4

// Not activated on this computer.
#define CLV_STATUS_NOT_ACTIVATED 20

// The subscription or trial is over.
#define CLV_STATUS_EXPIRED 21

// The release is newer than the license covers.
#define CLV_STATUS_UPDATES_ENDED 22

// This computer gave the activation up.
#define CLV_STATUS_GIVEN_UP 23

// The activation belongs to another computer.
#define CLV_STATUS_OTHER_MACHINE 24

// Another computer took the seat.
#define CLV_STATUS_REPLACED 25

// The vendor suspended the license.
#define CLV_STATUS_SUSPENDED 26

// The vendor revoked the license.
#define CLV_STATUS_REVOKED 27

// The vendor freed the seat.
#define CLV_STATUS_RELEASED 28

// The license went to another owner.
#define CLV_STATUS_TRANSFERRED 29

// The clock was set back.
#define CLV_STATUS_CLOCK_SET_BACK 30

// The activation file is damaged.
#define CLV_STATUS_DAMAGED 40

// The activation file was not signed by the vendor.
#define CLV_STATUS_UNTRUSTED 41

// The key behind the activation was compromised.
#define CLV_STATUS_KEY_COMPROMISED 42

// The folder of activations cannot be read.
#define CLV_STATUS_STATE_UNREACHABLE 43

// The computer tells no machine id.
#define CLV_STATUS_NO_MACHINE_ID 44

// The stable word for the reason: `bad_signature`, `wrong_product` …
#define CLV_TEXT_REASON_CODE 1

// A sentence for people about the status, in English, with what to do next.
#define CLV_TEXT_REASON 2

// The serial number.
#define CLV_TEXT_SERIAL 3

// The licensed product's (or bundle's) name.
#define CLV_TEXT_PRODUCT_NAME 4

// `perpetual`, `subscription` or `trial`.
#define CLV_TEXT_KIND 5

// The last release date covered, `2026-11-22`; empty where every release is.
#define CLV_TEXT_UPDATES_UNTIL 6

// The features that the license opens, joined by line feeds.
#define CLV_TEXT_ENTITLEMENTS 7

// The activation's id.
#define CLV_TEXT_ACTIVATION 8

// The id of the product that was opened.
#define CLV_TEXT_PRODUCT 9

// The id of the licensed product or bundle, which opens this product among others.
#define CLV_TEXT_LICENSED_PRODUCT 10

// The ids of all products that the license opens, joined by line feeds.
#define CLV_TEXT_OPENS 11

// The last day that a subscription is paid for, `2026-11-22`; empty for other licenses.
#define CLV_TEXT_PAID_THROUGH 12

// This computer as the vendor knows it, licensed or not; empty where the system has no id of its own.
#define CLV_TEXT_MACHINE 13

// No certificate was found.
#define CLV_SCOPE_NONE 0

// The certificate is in the machine's folder: everyone on this computer is licensed.
#define CLV_SCOPE_MACHINE 1

// The certificate is in the user's folder.
#define CLV_SCOPE_USER 2

// Progress; more will follow.
#define CLV_EVENT_PROGRESS 1

// It is done: the last call.
#define CLV_EVENT_DONE 2

// It failed: the last call.
#define CLV_EVENT_FAILED 3

// The vendor's id, `com.example`.
#define CLV_VENDOR_TEXT_ID 1

// The vendor's name for people.
#define CLV_VENDOR_TEXT_NAME 2

// An opened product. Made by `clv_license_open`, given back by `clv_license_close`.
typedef struct clv_license clv_license;

// A vendor. Made by `clv_vendor_open`, given back by `clv_vendor_close`.
typedef struct clv_vendor clv_vendor;

// A notification. Made by `clv_license_watch`, given back by `clv_watch_close`.
typedef struct clv_watch clv_watch;

// News of an activation or of giving one up. It and its texts live during the call; later versions may add members at
// its end.
typedef struct {
  // CLV_EVENT_…
  uint32_t kind;
  // The product's status now.
  uint32_t status;
  // With CLV_EVENT_FAILED a stable word for programs (`daemon_not_running`, `no_seat_left` …), otherwise empty.
  const char *code;
  // A sentence for people, in English.
  const char *message;
  // With CLV_EVENT_FAILED what to do next, otherwise (or where nothing helps) empty.
  const char *advice;
} clv_news;

// Hears of an activation or of giving one up.
typedef void (*clv_event_callback)(void *user, const clv_news *event);

// Frees what `user` points to. Called exactly once by every function that it is given to, also when that function
// fails: when the library has made its last use of `user`, on any thread but an audio thread, perhaps before the
// function returns. It calls nothing here.
typedef void (*clv_release_callback)(void *user);

// Hears of a change of status.
typedef void (*clv_status_callback)(void *user, uint32_t status);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the ABI that this library has. It never falls: see `clv_abi_require`.
//
// Any thread, audio threads too.
uint32_t clv_abi_version(void);

// Whether this library has all of the ABI version that a program was written for: call it first, with the header's
// `CLV_ABI_VERSION`. Answers CLV_OK, CLV_LIBRARY_TOO_OLD, or CLV_INVALID_ARGUMENT for 0. Any thread, audio threads too.
uint32_t clv_abi_require(uint32_t version);

// Whether a plug-in should run fully with this status (1 to 19). Any thread, audio threads too.
bool clv_status_is_licensed(uint32_t status);

// Opens a product: reads and verifies the files on this computer, on the spot. It answers CLV_OK whatever they say;
// `clv_license_status` tells.
//
// `product`: its id. `released`: the date of this release, `2026-11-22`, or NULL where updates are not limited.
// `out`: where the handle is written. Answers CLV_OK or CLV_INVALID_ARGUMENT. Any thread but an audio thread.
uint32_t clv_license_open(const clv_vendor *vendor,
                          const char *product,
                          const char *released,
                          clv_license **out);

// Gives a license back; NULL is nothing. Callbacks given with it are not called afterwards. Waits at most 5 ms (1 for
// a callback in progress, then for threads). Any thread but an audio thread; also while a loader lock is held.
void clv_license_close(clv_license *license);

// The status: one atomic load. No lock, no allocation, no system call. Any thread, audio threads too. NULL answers
// CLV_INVALID_ARGUMENT. (While the status is CLV_STATUS_PENDING, a short lock and a look at the clock are added.)
uint32_t clv_license_status(const clv_license *license);

// A counter that rises with every change of this product's status or terms: one atomic load. Any thread, audio threads
// too. NULL answers 0.
uint64_t clv_license_changes(const clv_license *license);

// Reads the files again and answers with the status. A license is never taken away by it in a running process. Any
// thread but an audio thread.
uint32_t clv_license_refresh(const clv_license *license);

// Whether the license opens the feature `entitlement`. False for NULL. Any thread but an audio thread.
bool clv_license_has_entitlement(const clv_license *license, const char *entitlement);

// Days until a subscription or trial ends, begun ones included; 0 when it is over; -1 where there is no end. Any thread
// but an audio thread.
int32_t clv_license_days_left(const clv_license *license);

// When a subscription (with its grace period) or trial ends, in seconds since 1970 UTC; -1 where there is no end. Any
// thread but an audio thread.
int64_t clv_license_expires(const clv_license *license);

// When the certificate was signed, in seconds since 1970 UTC; -1 where there is none. Any thread but an audio thread.
int64_t clv_license_issued(const clv_license *license);

// The revision of the activation, which rises with every change of its terms; 0 where there is no certificate. Any
// thread but an audio thread.
uint32_t clv_license_revision(const clv_license *license);

// Whose folder the certificate was found in: CLV_SCOPE_…. Any thread but an audio thread.
uint32_t clv_license_scope(const clv_license *license);

// Copies a text about the license (CLV_TEXT_…) into `buffer`, with a NUL.
//
// `length`: the buffer's size going in, the text's length without its NUL coming out. With a NULL buffer only the length
// is told. Answers CLV_OK, CLV_BUFFER_TOO_SMALL or CLV_INVALID_ARGUMENT; a text that there is none of is empty. Any
// thread but an audio thread.
uint32_t clv_license_text(const clv_license *license,
                          uint32_t which,
                          char *buffer,
                          size_t *length);

// Copies a sentence for people about any status number into `buffer`; `length` as in `clv_license_text`. Any thread but
// an audio thread.
uint32_t clv_status_text(uint32_t status,
                         char *buffer,
                         size_t *length);

// Copies the stable word for any status number (`licensed`, `not_activated` …) into `buffer`; `length` as in
// `clv_license_text`. Any thread but an audio thread.
uint32_t clv_status_code(uint32_t status,
                         char *buffer,
                         size_t *length);

// Audio is processed: call it with every block. Uses are counted only where a person has agreed to it, and instances of a
// product that run together are one use; without consent this is one atomic load. Any thread, audio threads too.
void clv_license_begin_use(const clv_license *license);

// The instance has stopped processing; also done by `clv_license_close`. Without consent, and where nothing was begun, one
// atomic load. Any thread but an audio thread.
void clv_license_end_use(const clv_license *license);

// What a use is told with: `version`, that of the product; `host` and `host_version`, what the host calls itself through the
// plug-in format. Each may be NULL. Forgotten at once without consent. Answers CLV_OK or CLV_INVALID_ARGUMENT. Any thread
// but an audio thread.
uint32_t clv_license_describe_use(const clv_license *license,
                                  const char *version,
                                  const char *host,
                                  const char *host_version);

// Asks the daemon to activate a license for this product, and returns at once. `callback` hears of progress and of the
// end, on a thread of the library; not after `clv_license_close`. `unlock_code`: NULL for an imported serial number that
// has none. `callback` and `release` may be NULL. Answers CLV_OK, CLV_INVALID_ARGUMENT or CLV_NO_THREAD. Any thread but
// an audio thread.
uint32_t clv_license_activate(const clv_license *license,
                              const char *serial,
                              const char *unlock_code,
                              clv_event_callback callback,
                              clv_release_callback release,
                              void *user);

// Asks the daemon to give this product's activation up, and returns at once; otherwise as `clv_license_activate`. This
// process stays licensed until it ends; the next one is not.
uint32_t clv_license_deactivate(const clv_license *license,
                                clv_event_callback callback,
                                clv_release_callback release,
                                void *user);

// Calls `callback` with the status whenever something about this product changes, on a thread of the library, until
// `clv_watch_close`. Answers CLV_OK, CLV_INVALID_ARGUMENT or CLV_NO_THREAD. Any thread but an audio thread. Where a
// callback is unwelcome, compare `clv_license_changes` instead.
uint32_t clv_license_watch(const clv_license *license,
                           clv_status_callback callback,
                           clv_release_callback release,
                           void *user,
                           clv_watch **out);

// Ends a notification; NULL is nothing. Its callback is not called afterwards. Waits at most 5 ms. Any thread but an
// audio thread.
void clv_watch_close(clv_watch *watch);

// Makes the vendor known whose profile (the text of its .clvprofile file) is compiled into this program.
//
// `profile`: `profile_length` bytes, copied; they need no NUL at the end. `out`: where the handle is written.
// Answers CLV_OK or CLV_INVALID_ARGUMENT. Any thread but an audio thread.
uint32_t clv_vendor_open(const char *profile, size_t profile_length, clv_vendor **out);

// Gives a vendor back; NULL is nothing. Its licenses stay open. Any thread but an audio thread.
void clv_vendor_close(clv_vendor *vendor);

// Copies a text about the vendor (CLV_VENDOR_TEXT_…) into `buffer`; `length` as in `clv_license_text`. Any thread but an
// audio thread.
uint32_t clv_vendor_text(const clv_vendor *vendor,
                         uint32_t which,
                         char *buffer,
                         size_t *length);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#if defined(CLV_STATIC) && (defined(__GNUC__) || defined(__clang__))
#pragma GCC visibility pop
#endif
