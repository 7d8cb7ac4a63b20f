/* The static archive in a process whose memory ends after n requests, for every n that a short life of a plug-in has. Arguments:
 * a profile and a product. Prints how many lives ended by themselves and how many were ended; built and run by
 * ../tests/plugin_sdk.rs. */
#define _GNU_SOURCE
#include <claviger.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

/* Requests that are still granted; -1 for all. */
static long left = -1;

static int refused(void) {
    if (left < 0) return 0;
    const long now = __atomic_fetch_sub(&left, 1, __ATOMIC_RELAXED);
    if (now > 0) return 0;
    __atomic_store_n(&left, 0, __ATOMIC_RELAXED);
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return refused() ? NULL : __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return refused() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { return refused() ? NULL : __libc_realloc(p, size); }
void *aligned_alloc(size_t align, size_t size) { return refused() ? NULL : __libc_memalign(align, size); }
int posix_memalign(void **out, size_t align, size_t size) {
    if (refused()) return ENOMEM;
    *out = __libc_memalign(align, size);
    return 0;
}

static int live(const char *profile, size_t length, const char *product) {
    clv_vendor *vendor = NULL;
    clv_license *license = NULL;
    clv_watch *watch = NULL;
    char text[512];
    size_t size = sizeof text;
    clv_vendor_open(profile, length, &vendor);
    clv_license_open(vendor, product, "2026-11-22", &license);
    const uint32_t status = clv_license_status(license);
    clv_license_text(license, CLV_TEXT_REASON, text, &size);
    clv_license_activate(license, "EX-1", "code", NULL, NULL, NULL);
    clv_license_watch(license, NULL, NULL, NULL, &watch);
    clv_watch_close(watch);
    clv_license_refresh(license);
    clv_license_close(license);
    clv_vendor_close(vendor);
    return (int)status;
}

int main(int argc, char **argv) {
    static char profile[65536];
    FILE *file = argc == 3 ? fopen(argv[1], "rb") : NULL;
    if (!file) return 99;
    const size_t length = fread(profile, 1, sizeof profile, file);
    fclose(file);
    int well = 0, licensed = 0, ended = 0;
    for (long n = 0; n < 400; ++n) {
        const pid_t child = fork();
        if (child == 0) {
            left = n;
            _exit(live(profile, length, argv[2]));
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (!WIFEXITED(status)) {
            ++ended;
        } else {
            ++well;
            licensed += WEXITSTATUS(status) == CLV_STATUS_LICENSED;
        }
    }
    printf("{\"well\":%d,\"licensed\":%d,\"ended\":%d}\n", well, licensed, ended);
    return 0;
}
